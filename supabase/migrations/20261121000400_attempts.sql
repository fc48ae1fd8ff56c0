-- Verification attempts with the lock-out they cause, their history, rate limits, and the removal of what is too old.

-- Writes one attempt and what follows from it; the answer is what was written, which is what counts:
--   a user who is locked now is rejected as locked_out, whatever was asked;
--   an accept that was not against the present voiceprint becomes inconclusive / not_enrolled;
--   accept clears the failure count, reject raises it and locks at p_max_failed_attempts, inconclusive leaves it;
--   an expired lock starts the count anew.
-- The user row is locked first, so parallel attempts count one after another. The same attempt id again changes nothing
-- and answers with what was written the first time.
create function public.va_record_attempt(
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
  v_failed integer;
  v_locked_until timestamptz;
begin
  if p_max_failed_attempts is null or p_max_failed_attempts < 1 or p_lockout_ms is null or p_lockout_ms < 1 then
    raise exception 'the lock-out rule is not usable' using errcode = '22023';
  end if;
  select * into v_user from voice_auth.users u where u.id = p_user_id for update;
  if not found then
    raise exception 'no such user' using errcode = 'VA004';
  end if;
  v_now := clock_timestamp();
  v_failed := case when v_user.locked_until <= v_now then 0 else v_user.failed_attempts end;
  v_locked_until := case when v_user.locked_until > v_now then v_user.locked_until end;

  select * into v_stored from voice_auth.auth_attempts a where a.id = p_attempt_id;
  if found then
    if v_stored.user_id is distinct from p_user_id then
      raise exception 'the attempt id is already used' using errcode = 'VA005';
    end if;
    v_decision := v_stored.decision;
    v_reason := v_stored.reason;
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
    elsif p_decision = 'reject' and p_reason <> 'locked_out' then
      v_failed := v_failed + 1;
      if v_failed >= p_max_failed_attempts then
        v_locked_until := v_now + p_lockout_ms * interval '1 millisecond';
      end if;
    end if;
    insert into voice_auth.auth_attempts (
      id, user_id, correlation_id, call_id, source, decision, reason, score, threshold, model_id, net_speech_ms, looks,
      latency_ms, created_at)
    values (
      p_attempt_id, p_user_id, p_correlation_id, p_call_id, p_source, v_decision, v_reason, p_score, p_threshold,
      p_model_id, p_net_speech_ms, p_looks, p_latency_ms, v_now);
    update voice_auth.users u set failed_attempts = v_failed, locked_until = v_locked_until, updated_at = v_now
    where u.id = p_user_id;
  end if;
  return jsonb_build_object(
    'attempt_id', p_attempt_id, 'decision', v_decision, 'reason', v_reason, 'failed_attempts', v_failed,
    'locked_until', v_locked_until);
end
$$;

-- {"attempts": [...], "more": bool}, newest first, older than (p_before_at, p_before_id) when given; null for no such user.
create function public.va_auth_history(
  p_user_id uuid, p_limit integer, p_before_at timestamptz default null, p_before_id uuid default null
) returns jsonb
language plpgsql stable security definer set search_path = ''
as $$
declare
  v_attempts jsonb;
begin
  if p_limit is null or p_limit not between 1 and 200 then
    raise exception 'p_limit must be 1 to 200' using errcode = '22023';
  end if;
  if not exists (select from voice_auth.users u where u.id = p_user_id) then
    return null;
  end if;
  select coalesce(jsonb_agg(to_jsonb(page) - 'user_id' order by page.created_at desc, page.id desc), '[]'::jsonb)
  into v_attempts
  from (
    select * from voice_auth.auth_attempts a
    where a.user_id = p_user_id
      and (p_before_at is null or (a.created_at, a.id) < (p_before_at, p_before_id))
    order by a.created_at desc, a.id desc
    limit p_limit + 1) as page;
  return jsonb_build_object(
    'attempts', case when jsonb_array_length(v_attempts) > p_limit then v_attempts - p_limit else v_attempts end,
    'more', jsonb_array_length(v_attempts) > p_limit);
end
$$;

-- Counts one hit in the key's fixed window, which starts with its first hit. One upsert; every new row also takes a few
-- expired ones away, so the table cannot grow beyond the keys of the last window or two.
create function public.va_rate_limit_hit(p_key text, p_window_ms bigint) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_row voice_auth.rate_limits;
begin
  if p_window_ms is null or p_window_ms < 1 then
    raise exception 'p_window_ms must be positive' using errcode = '22023';
  end if;
  insert into voice_auth.rate_limits as r (key, hits, resets_at)
  values (p_key, 1, v_now + p_window_ms * interval '1 millisecond')
  on conflict (key) do update set
    hits = case when r.resets_at <= v_now then 1 else r.hits + 1 end,
    resets_at = case when r.resets_at <= v_now then excluded.resets_at else r.resets_at end
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

-- Removes what has had its time: attempts (also anonymised ones) older than p_attempts_before, users whose retention has
-- ended (erased like on request), expired rate-limit rows. Answers how many of each.
create function public.va_purge(p_attempts_before timestamptz) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_attempts integer;
  v_users integer := 0;
  v_rate_limits integer;
  v_user_id uuid;
begin
  for v_user_id in
    select u.id from voice_auth.users u where u.retain_until <= clock_timestamp() order by u.id for update skip locked
  loop
    perform voice_auth.erase(v_user_id, 'user.retention_ended', 'retention', 'retention');
    v_users := v_users + 1;
  end loop;
  -- Rows that somebody else holds wait for the next time: waiting for them here, with the audit lock held, could deadlock
  -- with an erasure.
  delete from voice_auth.auth_attempts a
    where a.id in (
      select b.id from voice_auth.auth_attempts b where b.created_at < p_attempts_before for update skip locked
    );
  get diagnostics v_attempts = row_count;
  delete from voice_auth.rate_limits r
    where r.key in (
      select b.key from voice_auth.rate_limits b where b.resets_at <= clock_timestamp() for update skip locked
    );
  get diagnostics v_rate_limits = row_count;
  return jsonb_build_object('users', v_users, 'attempts', v_attempts, 'rate_limits', v_rate_limits);
end
$$;

revoke execute on function public.va_record_attempt(
  uuid, uuid, text, text, text, text, text, double precision, double precision, text, integer, integer, integer,
  integer, bigint, bigint
) from public, anon, authenticated;
grant execute on function public.va_record_attempt(
  uuid, uuid, text, text, text, text, text, double precision, double precision, text, integer, integer, integer,
  integer, bigint, bigint
) to service_role;
revoke execute on function public.va_auth_history(uuid, integer, timestamptz, uuid) from public, anon, authenticated;
grant execute on function public.va_auth_history(uuid, integer, timestamptz, uuid) to service_role;
revoke execute on function public.va_rate_limit_hit(text, bigint) from public, anon, authenticated;
grant execute on function public.va_rate_limit_hit(text, bigint) to service_role;
revoke execute on function public.va_purge(timestamptz) from public, anon, authenticated;
grant execute on function public.va_purge(timestamptz) to service_role;
