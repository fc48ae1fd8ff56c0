-- Running calls and what is asked about them, so that any process may be asked: which process listens to a call (a lease
-- that must be renewed), how far it has come, and every question with its answer. Nothing here outlives a day. Listen URLs
-- are secrets and are never stored; what is heard stays in the memory of the process that listens.
-- SQLSTATEs of our own: VA007 the call id is in use, VA008 the request id was used for another question.

create or replace function public.va_ping() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object('schema_version', 2)
$$;

alter table voice_auth.auth_attempts drop constraint auth_attempts_source;
alter table voice_auth.auth_attempts add constraint auth_attempts_source check (source in (
  'vapi_listen', 'upload', 'audio_url', 'vapi', 'vapi_transcriber', 'twilio', 'telnyx', 'plivo'));

-- Who calls from this number?
create index users_phone on voice_auth.users (phone) where phone is not null;

create table voice_auth.call_sessions (
  platform text not null
    constraint call_sessions_platform check (platform in ('vapi', 'vapi_transcriber', 'twilio', 'telnyx', 'plivo')),
  call_id text not null constraint call_sessions_call check (char_length(call_id) between 1 and 128),
  -- `waiting`: its stream is expected and has not come yet.
  state text not null constraint call_sessions_state check (state in ('waiting', 'connecting', 'listening', 'ended')),
  -- The process that listens, as long as its lease runs.
  owner text constraint call_sessions_owner check (char_length(owner) between 1 and 64),
  lease_expires_at timestamptz not null,
  -- Of the one-time token of an expected stream; null once used.
  token_hash bytea constraint call_sessions_token_unique unique
    constraint call_sessions_token_size check (octet_length(token_hash) = 32),
  token_expires_at timestamptz,
  -- Whom the stream was said to be of.
  user_id uuid references voice_auth.users (id) on delete set null,
  net_speech_ms integer not null default 0 constraint call_sessions_net_speech check (net_speech_ms >= 0),
  looks integer not null default 0 constraint call_sessions_looks check (looks >= 0),
  claimed boolean not null default false,
  started_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (platform, call_id),
  constraint call_sessions_token_expiry check ((token_hash is null) = (token_expires_at is null))
);

create index call_sessions_owned on voice_auth.call_sessions (owner) where owner is not null;
create index call_sessions_age on voice_auth.call_sessions (updated_at);
create index call_sessions_user on voice_auth.call_sessions (user_id) where user_id is not null;

create table voice_auth.call_requests (
  platform text not null,
  call_id text not null,
  request_id text not null constraint call_requests_request check (char_length(request_id) between 1 and 160),
  kind text not null constraint call_requests_kind check (kind in ('verify', 'enroll')),
  asker text not null constraint call_requests_asker check (char_length(asker) between 1 and 64),
  -- What was asked, digested: the same request id with anything else is a mistake, not the same question.
  fingerprint text not null constraint call_requests_fingerprint check (char_length(fingerprint) between 1 and 64),
  -- Of the attempt (or voice sample) that answers the question: asked twice, it is still one. Anew after a withdrawal.
  attempt_id uuid not null default gen_random_uuid(),
  -- What the process that listens has to know, if that is not the asker; may hold the caller's number, so it goes when the
  -- answer comes or the time is up.
  args jsonb,
  answer jsonb,
  -- Whom the answer is about: it goes with the person.
  user_id uuid references voice_auth.users (id) on delete cascade,
  deadline_at timestamptz not null,
  primary key (platform, call_id, request_id),
  foreign key (platform, call_id) references voice_auth.call_sessions (platform, call_id) on delete cascade,
  constraint call_requests_args check (answer is null or args is null)
);

create index call_requests_user on voice_auth.call_requests (user_id) where user_id is not null;
create index call_requests_args on voice_auth.call_requests (deadline_at) where args is not null;

alter table voice_auth.call_sessions enable row level security;
alter table voice_auth.call_sessions force row level security;
alter table voice_auth.call_requests enable row level security;
alter table voice_auth.call_requests force row level security;
revoke all on voice_auth.call_sessions from public, anon, authenticated, service_role;
revoke all on voice_auth.call_requests from public, anon, authenticated, service_role;

create function voice_auth.lease_end(p_lease_ms bigint) returns timestamptz
language plpgsql set search_path = ''
as $$
begin
  if p_lease_ms is null or p_lease_ms < 1 then
    raise exception 'a lease must last' using errcode = '22023';
  end if;
  return clock_timestamp() + p_lease_ms * interval '1 millisecond';
end
$$;

-- Every new call takes a few away that have not been heard of for a day, and what questions that are over held.
create function voice_auth.forget_old_calls() returns void
language sql set search_path = ''
as $$
  update voice_auth.call_requests r set args = null where (r.platform, r.call_id, r.request_id) in (
    select o.platform, o.call_id, o.request_id from voice_auth.call_requests o
    where o.args is not null and o.deadline_at < clock_timestamp() for update skip locked);
  delete from voice_auth.call_sessions s where (s.platform, s.call_id) in (
    select o.platform, o.call_id from voice_auth.call_sessions o
    where o.updated_at < clock_timestamp() - interval '1 day'
    order by o.updated_at limit 10 for update skip locked)
$$;

-- The call as p_owner may have it, locked: made when there is none, taken over when nobody holds it. A row of nulls when
-- there is none and p_may_listen is false. took_over: another process held it and did not say that it let go.
create function voice_auth.hold_call(
  p_platform text, p_call_id text, p_owner text, p_lease_ms bigint, p_may_listen boolean,
  out session voice_auth.call_sessions, out took_over boolean
)
language plpgsql set search_path = ''
as $$
begin
  took_over := false;
  if p_may_listen then
    insert into voice_auth.call_sessions as s (platform, call_id, state, owner, lease_expires_at)
    values (p_platform, p_call_id, 'connecting', p_owner, voice_auth.lease_end(p_lease_ms))
    on conflict do nothing;
    if found then
      perform voice_auth.forget_old_calls();
    end if;
  end if;
  select * into session from voice_auth.call_sessions s
  where s.platform = p_platform and s.call_id = p_call_id for update;
  if found and p_may_listen and session.state in ('connecting', 'listening')
     and session.owner is distinct from p_owner and session.lease_expires_at <= clock_timestamp() then
    took_over := session.owner is not null;
    update voice_auth.call_sessions s
    set owner = p_owner, lease_expires_at = voice_auth.lease_end(p_lease_ms), state = 'connecting',
        updated_at = clock_timestamp()
    where s.platform = p_platform and s.call_id = p_call_id
    returning * into session;
  end if;
end
$$;

-- Says that a call is under way and that p_owner would listen. {"state", "owned", "took_over", "user_id"}
create function public.va_call_begin(p_platform text, p_call_id text, p_owner text, p_lease_ms bigint) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_held record;
begin
  v_held := voice_auth.hold_call(p_platform, p_call_id, p_owner, p_lease_ms, true);
  return jsonb_build_object(
    'state', (v_held.session).state, 'owned', (v_held.session).owner is not distinct from p_owner,
    'took_over', v_held.took_over, 'user_id', (v_held.session).user_id);
end
$$;

-- Asks about a call. The answer of the first time when there is one, else the question is noted and the reply says who has
-- to answer: {"state": null} = no such call; owned = p_asker itself; alive = the other process still holds the call. VA008:
-- the request id was used for another question. p_user_id: who was named, from now on whom the call is taken to be of.
create function public.va_call_ask(
  p_platform text, p_call_id text, p_request_id text, p_kind text, p_fingerprint text, p_user_id uuid, p_args jsonb,
  p_deadline_ms bigint, p_asker text, p_may_listen boolean, p_lease_ms bigint
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_held record;
  v_session voice_auth.call_sessions;
  v_request voice_auth.call_requests;
begin
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
    update voice_auth.call_sessions s set user_id = (select u.id from voice_auth.users u where u.id = p_user_id)
    where s.platform = p_platform and s.call_id = p_call_id
    returning * into v_session;
  end if;
  return jsonb_build_object(
    'state', v_session.state, 'owned', v_session.owner is not distinct from p_asker, 'took_over', v_held.took_over,
    'alive', v_session.owner is not null and v_session.lease_expires_at > clock_timestamp(),
    'user_id', v_session.user_id, 'attempt_id', v_request.attempt_id, 'answer', v_request.answer);
end
$$;

-- The question is no longer waited for, or could not be answered: asked again, it is answered anew.
create function public.va_call_withdraw(p_platform text, p_call_id text, p_request_id text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  update voice_auth.call_requests r
  set args = null, deadline_at = clock_timestamp(), attempt_id = gen_random_uuid()
  where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id and r.answer is null;
  return to_jsonb(found);
end
$$;

-- How a question stands that another process has to answer: {"answer", "alive"}.
create function public.va_call_request(p_platform text, p_call_id text, p_request_id text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'answer', (
      select r.answer from voice_auth.call_requests r
      where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id),
    'alive', exists (
      select from voice_auth.call_sessions s
      where s.platform = p_platform and s.call_id = p_call_id
        and s.owner is not null and s.lease_expires_at > clock_timestamp()))
$$;

-- Answers a question, once; an error may be followed by an answer. Nothing is kept about a person who is gone.
create function public.va_call_answer(
  p_platform text, p_call_id text, p_request_id text, p_answer jsonb, p_user_id uuid
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  if p_user_id is not null and not exists (select from voice_auth.users u where u.id = p_user_id) then
    delete from voice_auth.call_requests r
    where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id;
    return to_jsonb(false);
  end if;
  update voice_auth.call_requests r set answer = p_answer, args = null, user_id = p_user_id
  where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id
    and (r.answer is null or r.answer ->> 'kind' = 'error');
  return to_jsonb(found);
end
$$;

-- What the process that listens has to do: questions of others to answer, calls that have been ended elsewhere.
create function public.va_call_poll(p_owner text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'requests', coalesce((
      select jsonb_agg(jsonb_build_object(
        'platform', r.platform, 'call_id', r.call_id, 'request_id', r.request_id, 'kind', r.kind, 'args', r.args,
        'attempt_id', r.attempt_id,
        'remaining_ms', extract(epoch from r.deadline_at - clock_timestamp()) * 1000))
      from voice_auth.call_sessions s
      join voice_auth.call_requests r on r.platform = s.platform and r.call_id = s.call_id
      where s.owner = p_owner and r.answer is null and r.asker <> p_owner and r.args is not null
        and r.deadline_at > clock_timestamp()), '[]'::jsonb),
    'ended', coalesce((
      select jsonb_agg(jsonb_build_object('platform', s.platform, 'call_id', s.call_id))
      from voice_auth.call_sessions s where s.owner = p_owner and s.state = 'ended'), '[]'::jsonb))
$$;

-- Renews the leases of all calls in p_calls [{platform, call_id, state, net_speech_ms, looks, claimed}] and says how far
-- they have come. Answers with those that p_owner does not hold any more. An ended call stays ended.
create function public.va_call_renew(p_owner text, p_lease_ms bigint, p_calls jsonb) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_lost jsonb;
begin
  -- Locked in one order, so that two processes that believe to hold the same calls cannot block each other.
  perform from voice_auth.call_sessions s where s.owner = p_owner order by s.platform, s.call_id for update;
  update voice_auth.call_sessions s
  set lease_expires_at = voice_auth.lease_end(p_lease_ms),
      state = case when s.state = 'ended' then s.state else c.state end,
      net_speech_ms = c.net_speech_ms, looks = c.looks, claimed = c.claimed, updated_at = clock_timestamp()
  from jsonb_to_recordset(p_calls) as c (
    platform text, call_id text, state text, net_speech_ms integer, looks integer, claimed boolean)
  where s.platform = c.platform and s.call_id = c.call_id and s.owner = p_owner;
  select coalesce(jsonb_agg(jsonb_build_object('platform', c.platform, 'call_id', c.call_id)), '[]'::jsonb) into v_lost
  from jsonb_to_recordset(p_calls) as c (platform text, call_id text)
  where not exists (
    select from voice_auth.call_sessions s
    where s.platform = c.platform and s.call_id = c.call_id and s.owner = p_owner);
  return v_lost;
end
$$;

-- The call is over; also one that was not heard of, whose beginning may be on its way. True when it went on before.
create function public.va_call_end(p_platform text, p_call_id text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  insert into voice_auth.call_sessions (platform, call_id, state, lease_expires_at)
  values (p_platform, p_call_id, 'ended', clock_timestamp())
  on conflict do nothing;
  update voice_auth.call_sessions s
  set state = 'ended', token_hash = null, token_expires_at = null, updated_at = clock_timestamp()
  where s.platform = p_platform and s.call_id = p_call_id and s.state <> 'ended';
  return to_jsonb(found);
end
$$;

-- p_owner lets go of one call, or of all its calls (p_platform null): the next event may give them to anybody at once.
create function public.va_call_release(p_owner text, p_platform text, p_call_id text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  update voice_auth.call_sessions s
  set owner = null, lease_expires_at = clock_timestamp(), updated_at = clock_timestamp()
  where s.owner = p_owner and (p_platform is null or (s.platform = p_platform and s.call_id = p_call_id));
  return to_jsonb(found);
end
$$;

create function public.va_call_status(p_platform text, p_call_id text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'state', case
      when s.state = 'ended' then 'ended'
      when s.state = 'waiting' then 'connecting'
      when s.owner is null or s.lease_expires_at <= clock_timestamp() then 'lost'
      else s.state end,
    'net_speech_ms', s.net_speech_ms, 'looks', s.looks, 'claimed', s.claimed, 'started_at', s.started_at)
  from voice_auth.call_sessions s where s.platform = p_platform and s.call_id = p_call_id
$$;

-- Expects a stream. An expectation that nobody came for may be replaced, anything else with this call id may not (VA007).
create function public.va_stream_expect(
  p_platform text, p_call_id text, p_token_hash bytea, p_ttl_ms bigint, p_user_id uuid
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_expires_at timestamptz := voice_auth.lease_end(p_ttl_ms);
begin
  if p_user_id is not null and not exists (select from voice_auth.users u where u.id = p_user_id) then
    raise exception 'no such user' using errcode = 'VA004';
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

-- Redeems a token, once: {"call_id", "user_id"}, or null.
create function public.va_stream_redeem(p_platform text, p_token_hash bytea, p_owner text, p_lease_ms bigint) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_session voice_auth.call_sessions;
begin
  update voice_auth.call_sessions s
  set state = 'connecting', owner = p_owner, lease_expires_at = voice_auth.lease_end(p_lease_ms), token_hash = null,
      token_expires_at = null, updated_at = clock_timestamp()
  where s.platform = p_platform and s.token_hash = p_token_hash and s.state = 'waiting'
    and s.token_expires_at > clock_timestamp()
  returning * into v_session;
  if not found then
    return null;
  end if;
  return jsonb_build_object('call_id', v_session.call_id, 'user_id', v_session.user_id);
end
$$;

-- Enrolled users with this number, two at most: nobody, one, or more than one.
create function public.va_users_by_phone(p_phone text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(jsonb_agg(found.id), '[]'::jsonb) from (
    select u.id from voice_auth.users u join voice_auth.voiceprints v on v.user_id = u.id
    where u.phone = p_phone order by u.created_at, u.id limit 2) as found
$$;

-- As before; an attempt that was recorded already is told as it was recorded, score and all.
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
    'locked_until', v_locked_until, 'score', v_score, 'threshold', v_threshold, 'net_speech_ms', v_net_speech_ms,
    'looks', v_looks);
end
$$;

-- As before; questions about the person, or that hold their number, go as well.
create or replace function voice_auth.erase(p_user_id uuid, p_action text, p_request_ref text, p_actor text) returns boolean
language plpgsql set search_path = ''
as $$
declare
  v_user voice_auth.users;
  v_attempts integer;
begin
  select * into v_user from voice_auth.users u where u.id = p_user_id for update;
  if not found then
    return false;
  end if;
  update voice_auth.auth_attempts a
  set id = gen_random_uuid(), user_id = null, correlation_id = null, call_id = null
  where a.user_id = p_user_id;
  get diagnostics v_attempts = row_count;
  -- Calls in one order, as those who renew leases lock them.
  perform from voice_auth.call_sessions s where s.user_id = p_user_id order by s.platform, s.call_id for update;
  delete from voice_auth.call_requests r where r.args ->> 'userId' = p_user_id::text;
  update voice_auth.call_requests r set args = null
  where r.args is not null and v_user.phone in (r.args ->> 'callerNumber', r.args ->> 'phone');
  delete from voice_auth.users u where u.id = p_user_id;
  perform voice_auth.append_audit_event(
    p_action, voice_auth.pseudonym(v_user.audit_key, p_user_id::text), p_request_ref, p_actor,
    jsonb_build_object('attempts_anonymised', v_attempts));
  return true;
end
$$;

-- As before; calls that have not been heard of for a day go as well.
create or replace function public.va_purge(p_attempts_before timestamptz) returns jsonb
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
  delete from voice_auth.call_sessions s where (s.platform, s.call_id) in (
    select o.platform, o.call_id from voice_auth.call_sessions o
    where o.updated_at < clock_timestamp() - interval '1 day' for update skip locked);
  perform voice_auth.forget_old_calls();
  return jsonb_build_object('users', v_users, 'attempts', v_attempts, 'rate_limits', v_rate_limits);
end
$$;

revoke execute on function voice_auth.lease_end(bigint) from public, anon, authenticated, service_role;
revoke execute on function voice_auth.forget_old_calls() from public, anon, authenticated, service_role;
revoke execute on function voice_auth.hold_call(text, text, text, bigint, boolean)
  from public, anon, authenticated, service_role;
revoke execute on function public.va_call_begin(text, text, text, bigint) from public, anon, authenticated;
grant execute on function public.va_call_begin(text, text, text, bigint) to service_role;
revoke execute on function public.va_call_ask(
  text, text, text, text, text, uuid, jsonb, bigint, text, boolean, bigint
) from public, anon, authenticated;
grant execute on function public.va_call_ask(
  text, text, text, text, text, uuid, jsonb, bigint, text, boolean, bigint
) to service_role;
revoke execute on function public.va_call_withdraw(text, text, text) from public, anon, authenticated;
grant execute on function public.va_call_withdraw(text, text, text) to service_role;
revoke execute on function public.va_call_request(text, text, text) from public, anon, authenticated;
grant execute on function public.va_call_request(text, text, text) to service_role;
revoke execute on function public.va_call_answer(text, text, text, jsonb, uuid) from public, anon, authenticated;
grant execute on function public.va_call_answer(text, text, text, jsonb, uuid) to service_role;
revoke execute on function public.va_call_poll(text) from public, anon, authenticated;
grant execute on function public.va_call_poll(text) to service_role;
revoke execute on function public.va_call_renew(text, bigint, jsonb) from public, anon, authenticated;
grant execute on function public.va_call_renew(text, bigint, jsonb) to service_role;
revoke execute on function public.va_call_end(text, text) from public, anon, authenticated;
grant execute on function public.va_call_end(text, text) to service_role;
revoke execute on function public.va_call_release(text, text, text) from public, anon, authenticated;
grant execute on function public.va_call_release(text, text, text) to service_role;
revoke execute on function public.va_call_status(text, text) from public, anon, authenticated;
grant execute on function public.va_call_status(text, text) to service_role;
revoke execute on function public.va_stream_expect(text, text, bytea, bigint, uuid) from public, anon, authenticated;
grant execute on function public.va_stream_expect(text, text, bytea, bigint, uuid) to service_role;
revoke execute on function public.va_stream_redeem(text, bytea, text, bigint) from public, anon, authenticated;
grant execute on function public.va_stream_redeem(text, bytea, text, bigint) to service_role;
revoke execute on function public.va_users_by_phone(text) from public, anon, authenticated;
grant execute on function public.va_users_by_phone(text) to service_role;
