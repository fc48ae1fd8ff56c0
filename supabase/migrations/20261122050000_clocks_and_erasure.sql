-- How old an attempt is, the database says by its own clock: a server whose clock ran ahead had everybody's removed. A lock
-- that was set by a database's clock that ran ahead lasted until that time. And a question about a person outlived their
-- erasure when it was withdrawn or ended with an error; what it held outlived its time until a call or an hour came.

create or replace function public.va_ping() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object('schema_version', 10)
$$;

-- Its successor takes what processes of the former version say as well: they go on working meanwhile.
drop function public.va_purge(timestamptz);

-- As before; attempts are removed that are older than p_attempt_retention_ms, none when it is null. p_attempts_before is
-- what processes of the former version give instead, by their own clock.
create function public.va_purge(p_attempts_before timestamptz default null, p_attempt_retention_ms bigint default null)
returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_before timestamptz := coalesce(
    clock_timestamp() - p_attempt_retention_ms * interval '1 millisecond', p_attempts_before);
  v_attempts integer;
  v_users integer := 0;
  v_rate_limits integer;
  v_calls integer;
  v_user_id uuid;
begin
  if p_attempt_retention_ms < 1 then
    raise exception 'p_attempt_retention_ms must be positive' using errcode = '22023';
  end if;
  for v_user_id in
    select u.id from voice_auth.users u where u.retain_until <= clock_timestamp()
    order by u.id limit 20 for update skip locked
  loop
    perform voice_auth.erase(v_user_id, 'user.retention_ended', 'retention', 'retention');
    v_users := v_users + 1;
  end loop;
  -- Rows that somebody else holds wait for the next time: waiting for them here, with the audit lock held, could deadlock
  -- with an erasure.
  with old as materialized (
    select b.id from voice_auth.auth_attempts b where b.created_at < v_before
    order by b.created_at limit 1000 for update skip locked)
  delete from voice_auth.auth_attempts a using old where a.id = old.id;
  get diagnostics v_attempts = row_count;
  with old as materialized (
    select b.key from voice_auth.rate_limits b where b.resets_at <= clock_timestamp()
    order by b.resets_at limit 1000 for update skip locked)
  delete from voice_auth.rate_limits r using old where r.key = old.key;
  get diagnostics v_rate_limits = row_count;
  with old as materialized (
    select o.platform, o.call_id from voice_auth.call_sessions o
    where o.updated_at < clock_timestamp() - interval '1 day'
    order by o.updated_at limit 1000 for update skip locked)
  delete from voice_auth.call_sessions s using old where s.platform = old.platform and s.call_id = old.call_id;
  get diagnostics v_calls = row_count;
  perform voice_auth.forget_old_calls();
  return jsonb_build_object(
    'users', v_users, 'attempts', v_attempts, 'rate_limits', v_rate_limits,
    'more', v_users = 20 or greatest(v_attempts, v_rate_limits, v_calls) = 1000);
end
$$;

revoke execute on function public.va_purge(timestamptz, bigint) from public, anon, authenticated;
grant execute on function public.va_purge(timestamptz, bigint) to service_role;

alter table voice_auth.users add column locked_at timestamptz;

-- Until when the user is locked; null: not, or not any more. A lock that begins further ahead than it is long was set by a
-- clock that ran ahead, and is over; within that it holds, so that no small correction of the clock opens one. Of locks of
-- before, and of those that an operator sets, it is not known when they began: they hold.
create function voice_auth.lock_end(p_user voice_auth.users) returns timestamptz
language sql stable set search_path = ''
as $$
  select case
    when p_user.locked_until <= clock_timestamp() then null
    when p_user.locked_at > clock_timestamp() + (p_user.locked_until - p_user.locked_at) then null
    else p_user.locked_until end
$$;

revoke execute on function voice_auth.lock_end(voice_auth.users) from public, anon, authenticated, service_role;

-- A lock that somebody sets or lifts by hand has no beginning, whatever the one before it had.
create function voice_auth.forget_lock_start() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.locked_at := null;
  return new;
end
$$;

revoke execute on function voice_auth.forget_lock_start() from public, anon, authenticated, service_role;

create trigger forget_lock_start before update on voice_auth.users for each row
when (new.locked_until is distinct from old.locked_until and new.locked_at is not distinct from old.locked_at)
execute function voice_auth.forget_lock_start();

-- As before, with such a lock as one that has expired.
create or replace function public.va_find_user(p_user_id uuid) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'user_id', u.id,
    'phone', u.phone,
    'locked_until', voice_auth.lock_end(u),
    'voiceprint', (
      select jsonb_build_object(
        'model_id', v.model_id,
        'template', '\x' || encode(v.template, 'hex'),
        'version', v.version,
        'sample_count', v.sample_count,
        'net_speech_ms', v.net_speech_ms)
      from voice_auth.voiceprints v where v.user_id = u.id),
    'samples', coalesce((
      select jsonb_agg(jsonb_build_object(
        'id', s.id,
        'model_id', s.model_id,
        'template', '\x' || encode(s.template, 'hex'),
        'net_speech_ms', s.net_speech_ms) order by s.created_at, s.id)
      from voice_auth.voice_samples s where s.user_id = u.id), '[]'::jsonb))
  from voice_auth.users u where u.id = p_user_id
$$;

-- As before, with such a lock as one that has expired.
create or replace function public.va_user_status(p_user_id uuid) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'user_id', u.id,
    'model_id', v.model_id,
    'samples', coalesce(v.sample_count, 0),
    'net_speech_ms', coalesce(v.net_speech_ms, 0),
    'enrolled_at', v.created_at,
    'locked_until', voice_auth.lock_end(u),
    'failed_attempts', case when u.locked_until is not null and voice_auth.lock_end(u) is null then 0
      else u.failed_attempts end,
    'last_attempt', (
      select to_jsonb(a) - 'user_id' from voice_auth.auth_attempts a
      where a.user_id = u.id order by a.created_at desc, a.id desc limit 1))
  from voice_auth.users u left join voice_auth.voiceprints v on v.user_id = u.id
  where u.id = p_user_id
$$;

-- As before, with such a lock as one that has expired; notes when a lock begins.
create or replace function public.va_record_attempt(
  p_attempt_id uuid, p_user_id uuid, p_correlation_id text, p_call_id text, p_source text, p_decision text,
  p_reason text, p_score double precision, p_threshold double precision, p_model_id text, p_net_speech_ms integer,
  p_looks integer, p_latency_ms integer, p_max_failed_attempts integer, p_lockout_ms bigint,
  p_voiceprint_version bigint
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_user voice_auth.users;
  v_stored voice_auth.auth_attempts;
  v_now timestamptz;
  v_decision text := p_decision;
  v_reason text := p_reason;
  v_score double precision := p_score;
  v_threshold double precision := p_threshold;
  v_net_speech_ms integer := p_net_speech_ms;
  v_looks integer := p_looks;
  v_failed integer;
  v_locked_until timestamptz;
  v_locked_at timestamptz;
  v_new boolean;
begin
  if p_max_failed_attempts is null or p_max_failed_attempts < 1 or p_lockout_ms is null or p_lockout_ms < 1 then
    raise exception 'the lock-out rule is not usable' using errcode = '22023';
  end if;
  select * into v_user from voice_auth.users u where u.id = p_user_id for update;
  if not found then
    raise exception 'no such user' using errcode = 'VA004';
  end if;
  v_now := clock_timestamp();
  v_locked_until := voice_auth.lock_end(v_user);
  v_locked_at := case when v_locked_until is not null then v_user.locked_at end;
  v_failed := case when v_user.locked_until is not null and v_locked_until is null then 0 else v_user.failed_attempts end;

  select * into v_stored from voice_auth.auth_attempts a where a.id = p_attempt_id;
  v_new := not found;
  if not v_new then
    if v_stored.user_id is distinct from p_user_id then
      raise exception 'the attempt id is already used' using errcode = 'VA005';
    end if;
    v_decision := v_stored.decision;
    v_reason := v_stored.reason;
    v_score := v_stored.score;
    v_threshold := v_stored.threshold;
    v_net_speech_ms := v_stored.net_speech_ms;
    v_looks := v_stored.looks;
  else
    if v_locked_until is not null then
      v_decision := 'reject';
      v_reason := 'locked_out';
    elsif p_decision = 'accept' and not exists (
        select from voice_auth.voiceprints v
        where v.user_id = p_user_id and v.version = p_voiceprint_version and v.model_id = p_model_id) then
      v_decision := 'inconclusive';
      v_reason := 'not_enrolled';
    elsif p_decision = 'accept' then
      v_failed := 0;
    elsif (p_decision = 'reject' and p_reason <> 'locked_out')
        or (p_reason = 'low_quality' and p_score is not null) then
      v_failed := v_failed + 1;
      if v_failed >= p_max_failed_attempts then
        v_locked_until := v_now + p_lockout_ms * interval '1 millisecond';
        v_locked_at := v_now;
      end if;
    end if;
    insert into voice_auth.auth_attempts (
      id, user_id, correlation_id, call_id, source, decision, reason, score, threshold, model_id, net_speech_ms, looks,
      latency_ms, created_at)
    values (
      p_attempt_id, p_user_id, p_correlation_id, p_call_id, p_source, v_decision, v_reason, p_score, p_threshold,
      p_model_id, p_net_speech_ms, p_looks, p_latency_ms, v_now);
    update voice_auth.users u
    set failed_attempts = v_failed, locked_until = v_locked_until, locked_at = v_locked_at, updated_at = v_now
    where u.id = p_user_id;
  end if;
  return jsonb_build_object(
    'attempt_id', p_attempt_id, 'decision', v_decision, 'reason', v_reason, 'failed_attempts', v_failed,
    'locked_until', v_locked_until, 'score', v_score, 'threshold', v_threshold, 'net_speech_ms', v_net_speech_ms,
    'looks', v_looks, 'new', v_new);
end
$$;

-- As before; the question is of whoever was named, from the beginning, and goes with them.
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
    platform, call_id, request_id, kind, asker, fingerprint, args, user_id, deadline_at)
  values (
    p_platform, p_call_id, p_request_id, p_kind, p_asker, p_fingerprint,
    case when v_session.owner is distinct from p_asker then p_args end, v_user_id,
    voice_auth.lease_end(p_deadline_ms))
  on conflict (platform, call_id, request_id) do update
    set asker = excluded.asker, args = excluded.args, user_id = excluded.user_id, deadline_at = excluded.deadline_at,
        answer = null,
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

-- As before; an answer that names nobody takes nobody off the question.
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
  update voice_auth.call_requests r set answer = p_answer, args = null, user_id = coalesce(p_user_id, r.user_id)
  where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id
    and (r.answer is null or r.answer ->> 'kind' = 'error');
  return to_jsonb(found);
end
$$;

-- What questions that are over held goes, also while no new call comes, and a few calls of more than a day.
create function public.va_forget_old_calls() returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  perform voice_auth.forget_old_calls();
  return to_jsonb(true);
end
$$;

revoke execute on function public.va_forget_old_calls() from public, anon, authenticated;
grant execute on function public.va_forget_old_calls() to service_role;

-- As before; nothing is added for somebody who was locked meanwhile (VA010), or tries at once would outrun the lock.
create or replace function public.va_save_enrollment(
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
  if voice_auth.lock_end(v_user) is not null then
    raise exception 'the user is locked' using errcode = 'VA010';
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

-- Which keys are in use is part of readiness: an index is less to read than the templates.
create index voiceprints_key_id_idx on voice_auth.voiceprints (key_id);
create index voice_samples_key_id_idx on voice_auth.voice_samples (key_id);
