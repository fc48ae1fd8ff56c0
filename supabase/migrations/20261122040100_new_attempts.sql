-- Says of an attempt whether it was written now or before, so that one that is recorded twice is counted once.

create or replace function public.va_ping() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object('schema_version', 9)
$$;

-- As before, and "new": nothing was written before under this attempt id.
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
  v_failed := case when v_user.locked_until <= v_now then 0 else v_user.failed_attempts end;
  v_locked_until := case when v_user.locked_until > v_now then v_user.locked_until end;

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
    'locked_until', v_locked_until, 'score', v_score, 'threshold', v_threshold, 'net_speech_ms', v_net_speech_ms,
    'looks', v_looks, 'new', v_new);
end
$$;
