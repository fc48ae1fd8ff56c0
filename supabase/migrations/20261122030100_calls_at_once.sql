-- Calls and numbers under concurrency: a process that has taken a call over while it waited for another one's answer waited
-- for itself; two enrollments at once could give one caller's number to two people; an erasure and a question about the same
-- person could block each other. And a rate limit whose window was begun by a clock that ran ahead lasted until that time.
-- SQLSTATE of our own: VA009 another enrolled user has the number.

create or replace function public.va_ping() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object('schema_version', 8)
$$;

-- Its successor has one more argument, with a default: processes of the former version go on working meanwhile.
drop function public.va_call_request(text, text, text);

-- How a question of p_asker stands that another process has to answer: {"answer", "alive"}. A call that is p_asker's own by
-- now has no other process that would answer.
create function public.va_call_request(p_platform text, p_call_id text, p_request_id text, p_asker text default null
) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'answer', (
      select r.answer from voice_auth.call_requests r
      where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id),
    'alive', exists (
      select from voice_auth.call_sessions s
      where s.platform = p_platform and s.call_id = p_call_id
        and s.owner is not null and s.owner is distinct from p_asker and s.lease_expires_at > clock_timestamp()))
$$;

revoke execute on function public.va_call_request(text, text, text, text) from public, anon, authenticated;
grant execute on function public.va_call_request(text, text, text, text) to service_role;

-- As before; the person is locked before call and question, in the order in which an erasure locks them.
create or replace function public.va_call_ask(
  p_platform text, p_call_id text, p_request_id text, p_kind text, p_fingerprint text, p_user_id uuid, p_args jsonb,
  p_deadline_ms bigint, p_asker text, p_may_listen boolean, p_lease_ms bigint
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_held record;
  v_session voice_auth.call_sessions;
  v_request voice_auth.call_requests;
  v_user_id uuid;
begin
  if p_user_id is not null then
    select u.id into v_user_id from voice_auth.users u where u.id = p_user_id for key share;
  end if;
  v_held := voice_auth.hold_call(p_platform, p_call_id, p_asker, p_lease_ms, p_may_listen);
  v_session := v_held.session;
  if v_session.call_id is null then
    return jsonb_build_object('state', null);
  end if;
  insert into voice_auth.call_requests as r (
    platform, call_id, request_id, kind, asker, fingerprint, args, deadline_at)
  values (
    p_platform, p_call_id, p_request_id, p_kind, p_asker, p_fingerprint,
    case when v_session.owner is distinct from p_asker then p_args end, voice_auth.lease_end(p_deadline_ms))
  on conflict (platform, call_id, request_id) do update
    set asker = excluded.asker, args = excluded.args, deadline_at = excluded.deadline_at, answer = null,
        attempt_id = case when r.answer is null then r.attempt_id else excluded.attempt_id end
    where r.fingerprint = excluded.fingerprint and (r.answer is null or r.answer ->> 'kind' = 'error');
  select * into v_request from voice_auth.call_requests r
  where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id;
  if v_request.fingerprint <> p_fingerprint then
    raise exception 'the request id was used for another question' using errcode = 'VA008';
  end if;
  if p_user_id is not null and v_session.user_id is distinct from p_user_id then
    update voice_auth.call_sessions s set user_id = v_user_id
    where s.platform = p_platform and s.call_id = p_call_id
    returning * into v_session;
  end if;
  return jsonb_build_object(
    'state', v_session.state, 'owned', v_session.owner is not distinct from p_asker, 'took_over', v_held.took_over,
    'alive', v_session.owner is not null and v_session.lease_expires_at > clock_timestamp(),
    'user_id', v_session.user_id, 'attempt_id', v_request.attempt_id, 'answer', v_request.answer);
end
$$;

-- As before, and the person is locked first.
create or replace function public.va_call_answer(
  p_platform text, p_call_id text, p_request_id text, p_answer jsonb, p_user_id uuid
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  if p_user_id is not null then
    perform from voice_auth.users u where u.id = p_user_id for key share;
    if not found then
      delete from voice_auth.call_requests r
      where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id;
      return to_jsonb(false);
    end if;
  end if;
  update voice_auth.call_requests r set answer = p_answer, args = null, user_id = p_user_id
  where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id
    and (r.answer is null or r.answer ->> 'kind' = 'error');
  return to_jsonb(found);
end
$$;

-- As before, and the person is locked first.
create or replace function public.va_stream_expect(
  p_platform text, p_call_id text, p_token_hash bytea, p_ttl_ms bigint, p_user_id uuid
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_expires_at timestamptz := voice_auth.lease_end(p_ttl_ms);
begin
  if p_user_id is not null then
    perform from voice_auth.users u where u.id = p_user_id for key share;
    if not found then
      raise exception 'no such user' using errcode = 'VA004';
    end if;
  end if;
  perform voice_auth.forget_old_calls();
  delete from voice_auth.call_sessions s
  where s.platform = p_platform and s.call_id = p_call_id and s.state = 'waiting'
    and s.token_expires_at <= clock_timestamp();
  insert into voice_auth.call_sessions (
    platform, call_id, state, lease_expires_at, token_hash, token_expires_at, user_id, claimed)
  values (
    p_platform, p_call_id, 'waiting', clock_timestamp(), p_token_hash, v_expires_at, p_user_id, p_user_id is not null);
  return jsonb_build_object('expires_at', v_expires_at);
exception when unique_violation then
  raise exception 'the call id is in use' using errcode = 'VA007';
end
$$;

-- As before; calls are locked in one order, as those who renew leases lock them.
create or replace function public.va_call_release(p_owner text, p_platform text, p_call_id text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  with held as materialized (
    select h.platform, h.call_id from voice_auth.call_sessions h
    where h.owner = p_owner and (p_platform is null or (h.platform = p_platform and h.call_id = p_call_id))
    order by h.platform, h.call_id for update)
  update voice_auth.call_sessions s
  set owner = null, lease_expires_at = clock_timestamp(), updated_at = clock_timestamp()
  from held where s.platform = held.platform and s.call_id = held.call_id;
  return to_jsonb(found);
end
$$;

drop function public.va_save_enrollment(
  uuid, text, text, text, bigint, bigint, text, bytea, integer, uuid, bytea, integer, uuid[], text, text, text
);

-- As before, with one more argument, which has a default as well: with p_phone_must_be_free a number that another enrolled
-- user has is refused (VA009).
create function public.va_save_enrollment(
  p_user_id uuid, p_phone text, p_consent_reference text, p_model_id text, p_expected_version bigint, p_version bigint,
  p_key_id text, p_template bytea, p_net_speech_ms integer, p_sample_id uuid, p_sample_template bytea,
  p_sample_net_speech_ms integer, p_kept_sample_ids uuid[], p_correlation_id text, p_actor text,
  p_replaces_model text default null, p_phone_must_be_free boolean default false
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_user voice_auth.users;
  v_current_version bigint;
  v_current_model text;
  v_replaced boolean;
  v_kept integer;
  v_slot smallint;
begin
  if p_version is null or p_expected_version is null or p_version <= p_expected_version then
    raise exception 'a voiceprint version must count up' using errcode = '22023';
  end if;
  if p_phone_must_be_free and p_phone is not null then
    -- Until this transaction ends nobody else is enrolled with the number under the same condition.
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(p_phone, 0));
    if exists (
        select from voice_auth.users u join voice_auth.voiceprints v on v.user_id = u.id
        where u.phone = p_phone and u.id <> p_user_id) then
      raise exception 'another enrolled user has the number' using errcode = 'VA009';
    end if;
  end if;
  insert into voice_auth.users (id, phone) values (p_user_id, p_phone) on conflict (id) do nothing;
  select * into v_user from voice_auth.users u where u.id = p_user_id for update;
  if not found then
    raise exception 'the user was erased meanwhile' using errcode = 'VA001';
  end if;
  if v_user.phone <> p_phone then
    raise exception 'the user is registered with another phone number' using errcode = 'VA002';
  end if;
  select v.version, v.model_id into v_current_version, v_current_model
  from voice_auth.voiceprints v where v.user_id = p_user_id;
  if coalesce(v_current_version, 0) <> p_expected_version then
    raise exception 'the voiceprint has changed' using errcode = 'VA001';
  end if;
  v_replaced := coalesce(v_current_model <> p_model_id, false);
  if v_replaced and p_replaces_model is distinct from v_current_model then
    raise exception 'the voiceprint is of another model' using errcode = 'VA003';
  end if;

  update voice_auth.users u set
    phone = coalesce(p_phone, u.phone),
    consent_reference = coalesce(p_consent_reference, u.consent_reference),
    consent_recorded_at = case when p_consent_reference is null then u.consent_recorded_at else clock_timestamp() end,
    updated_at = clock_timestamp()
  where u.id = p_user_id;

  delete from voice_auth.voice_samples s
  where s.user_id = p_user_id and not (s.id = any (coalesce(p_kept_sample_ids, '{}')));
  select count(*) into v_kept from voice_auth.voice_samples s where s.user_id = p_user_id;
  if v_kept <> cardinality(coalesce(p_kept_sample_ids, '{}')) then
    raise exception 'a sample to keep does not exist' using errcode = 'VA001';
  end if;
  if exists (select from voice_auth.voice_samples s where s.user_id = p_user_id and s.model_id <> p_model_id) then
    raise exception 'a sample to keep is of another model' using errcode = 'VA003';
  end if;
  if v_kept >= 5 then
    raise exception 'a voiceprint has at most 5 samples' using errcode = '22023';
  end if;

  insert into voice_auth.voiceprints as v (user_id, model_id, template, key_id, version, sample_count, net_speech_ms)
  values (p_user_id, p_model_id, p_template, p_key_id, p_version, v_kept + 1, p_net_speech_ms)
  on conflict (user_id) do update set
    model_id = excluded.model_id, template = excluded.template, key_id = excluded.key_id, version = excluded.version,
    sample_count = excluded.sample_count, net_speech_ms = excluded.net_speech_ms, updated_at = clock_timestamp(),
    created_at = case when v_replaced then clock_timestamp() else v.created_at end;

  select min(n) into v_slot from generate_series(1, 5) as n
  where not exists (select from voice_auth.voice_samples s where s.user_id = p_user_id and s.slot = n);
  insert into voice_auth.voice_samples (id, user_id, model_id, slot, template, key_id, net_speech_ms)
  values (p_sample_id, p_user_id, p_model_id, v_slot, p_sample_template, p_key_id, p_sample_net_speech_ms);

  perform voice_auth.append_audit_event(
    case when p_expected_version = 0 then 'voiceprint.created'
         when v_replaced then 'voiceprint.replaced'
         else 'voiceprint.updated' end,
    voice_auth.pseudonym(v_user.audit_key, p_user_id::text),
    voice_auth.pseudonym(v_user.audit_key, p_correlation_id),
    p_actor,
    jsonb_build_object('model_id', p_model_id, 'samples', v_kept + 1, 'consent', p_consent_reference is not null)
      || case when v_replaced then jsonb_build_object('replaced_model_id', v_current_model) else '{}'::jsonb end);
  return jsonb_build_object('samples', v_kept + 1, 'version', p_version);
end
$$;

revoke execute on function public.va_save_enrollment(
  uuid, text, text, text, bigint, bigint, text, bytea, integer, uuid, bytea, integer, uuid[], text, text, text, boolean
) from public, anon, authenticated;
grant execute on function public.va_save_enrollment(
  uuid, text, text, text, bigint, bigint, text, bytea, integer, uuid, bytea, integer, uuid[], text, text, text, boolean
) to service_role;

-- As before; a window that ends later than one that begins now would was begun by a clock that ran ahead, and is over. The
-- time is taken anew under the row's lock, or a hit that has waited for it would see such a window where there is none.
create or replace function public.va_rate_limit_hit(p_key text, p_window_ms bigint) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_window interval := p_window_ms * interval '1 millisecond';
  v_row voice_auth.rate_limits;
begin
  if p_window_ms is null or p_window_ms < 1 then
    raise exception 'p_window_ms must be positive' using errcode = '22023';
  end if;
  insert into voice_auth.rate_limits as r (key, hits, resets_at)
  values (p_key, 1, v_now + v_window)
  on conflict (key) do update set
    hits = case when r.resets_at <= v_now or r.resets_at > clock_timestamp() + v_window then 1 else r.hits + 1 end,
    resets_at = case when r.resets_at <= v_now or r.resets_at > clock_timestamp() + v_window
      then excluded.resets_at else r.resets_at end
  returning * into v_row;
  if v_row.hits = 1 then
    delete from voice_auth.rate_limits r where r.key in (
      select e.key from voice_auth.rate_limits e
      where e.resets_at <= v_now and e.key <> p_key
      order by e.resets_at limit 10 for update skip locked);
  end if;
  return jsonb_build_object('hits', v_row.hits, 'resets_at', v_row.resets_at);
end
$$;
