-- The audit trail: who changed or erased whose biometric data, append-only and hash-chained, so that a row changed or
-- removed behind the service's back is found. What a chain cannot show by itself is that its newest rows were cut off:
-- keep the head that va_verify_audit_chain returns somewhere else from time to time.
--
-- Nothing here can ever be removed, so nothing here may name a person. The subject is a digest of the user id under a
-- random key that lies in the user's row and is destroyed with it: while the user exists, events can be matched to them;
-- after erasure they stay linked to one another, but to nobody. Correlation ids of calls (which the phone platform could
-- trace back) are digested the same way. Only the erasure keeps its request's correlation id in the clear: it is the
-- operator's proof that the erasure asked for was done.

create table voice_auth.audit_events (
  seq bigint primary key constraint audit_events_seq check (seq >= 1),
  at timestamptz not null,
  action text not null constraint audit_events_action check (action ~ '^[a-z_]+\.[a-z_]+$'),
  subject text not null,
  request_ref text not null,
  actor text not null,
  detail jsonb not null,
  prev_hash bytea not null constraint audit_events_prev_hash_size check (octet_length(prev_hash) = 32),
  hash bytea not null constraint audit_events_hash_size check (octet_length(hash) = 32),
  constraint audit_events_hash_unique unique (hash)
);

alter table voice_auth.audit_events enable row level security;
alter table voice_auth.audit_events force row level security;
revoke all on voice_auth.audit_events from public, anon, authenticated, service_role;

create function voice_auth.refuse_audit_change() returns trigger
language plpgsql set search_path = ''
as $$
begin
  raise exception 'audit events are append-only' using errcode = 'VA006';
end
$$;

create trigger audit_events_append_only before update or delete on voice_auth.audit_events
  for each row execute function voice_auth.refuse_audit_change();
create trigger audit_events_no_truncate before truncate on voice_auth.audit_events
  for each statement execute function voice_auth.refuse_audit_change();

-- Digest of `value` that only means something while the person's key exists.
create function voice_auth.pseudonym(audit_key bytea, value text) returns text
language sql stable set search_path = ''
as $$
  select encode(sha256(audit_key || convert_to(value, 'UTF8')), 'hex')
$$;

-- sha256 over the previous hash and the event in one canonical text (a JSON array: unambiguous, fixed order, UTC time).
create function voice_auth.audit_hash(event voice_auth.audit_events) returns bytea
language sql stable set search_path = ''
as $$
  select sha256(event.prev_hash || convert_to(jsonb_build_array(
    event.seq,
    to_char(event.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    event.action, event.subject, event.request_ref, event.actor, event.detail)::text, 'UTF8'))
$$;

-- Appends one event. The advisory lock, held to the end of the transaction, makes the chain one line: the next writer
-- reads the head only after this one has committed.
create function voice_auth.append_audit_event(
  p_action text, p_subject text, p_request_ref text, p_actor text, p_detail jsonb
) returns void
language plpgsql set search_path = ''
as $$
declare
  v_event voice_auth.audit_events;
  v_head record;
begin
  perform pg_advisory_xact_lock(7236837200512001);
  select e.seq, e.hash into v_head from voice_auth.audit_events e order by e.seq desc limit 1;
  v_event.seq := coalesce(v_head.seq, 0) + 1;
  v_event.at := clock_timestamp();
  v_event.action := p_action;
  v_event.subject := p_subject;
  v_event.request_ref := p_request_ref;
  v_event.actor := p_actor;
  v_event.detail := p_detail;
  v_event.prev_hash := coalesce(v_head.hash, decode(repeat('00', 32), 'hex'));
  v_event.hash := voice_auth.audit_hash(v_event);
  insert into voice_auth.audit_events values (v_event.*);
end
$$;

revoke all on all functions in schema voice_auth from public, anon, authenticated, service_role;

-- {"ok": true, "events": n, "head": hex} or {"ok": false, "events": n, "broken_at": seq}: the first event whose number,
-- link or content is not what was written.
create function public.va_verify_audit_chain() returns jsonb
language plpgsql stable security definer set search_path = ''
as $$
declare
  v_event voice_auth.audit_events;
  v_expected_seq bigint := 1;
  v_expected_prev bytea := decode(repeat('00', 32), 'hex');
begin
  for v_event in select * from voice_auth.audit_events e order by e.seq loop
    if v_event.seq <> v_expected_seq
       or v_event.prev_hash <> v_expected_prev
       or v_event.hash <> voice_auth.audit_hash(v_event) then
      return jsonb_build_object('ok', false, 'events', v_expected_seq - 1, 'broken_at', v_expected_seq);
    end if;
    v_expected_seq := v_event.seq + 1;
    v_expected_prev := v_event.hash;
  end loop;
  return jsonb_build_object('ok', true, 'events', v_expected_seq - 1, 'head', encode(v_expected_prev, 'hex'));
end
$$;

revoke execute on function public.va_verify_audit_chain() from public, anon, authenticated;
grant execute on function public.va_verify_audit_chain() to service_role;
