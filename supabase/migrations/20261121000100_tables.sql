-- What the service remembers. Tables live in a schema of their own that the API does not serve: nothing of a project's
-- `public` schema is touched, and every access goes through the functions of a later migration.
-- Row-level security is on, forced, and without a policy: even with a grant given by mistake nobody reads a row.
-- Plain SQL for PostgreSQL 15 and later; the roles anon, authenticated and service_role must exist.

-- The functions run as the role that applies these migrations; forced row-level security would blind it without this.
do $$
begin
  if not exists (select from pg_catalog.pg_roles
                 where rolname = current_user and (rolsuper or rolbypassrls)) then
    raise exception 'the role % must have BYPASSRLS to own the voice_auth functions', current_user;
  end if;
end
$$;

create schema voice_auth;

create table voice_auth.users (
  id uuid primary key,
  phone text constraint users_phone_e164 check (phone ~ '^\+[1-9][0-9]{1,14}$'),
  consent_reference text constraint users_consent_length check (char_length(consent_reference) between 1 and 512),
  consent_recorded_at timestamptz,
  -- Set by an agreed retention period: va_purge erases the user after this moment. Null keeps until erasure is asked.
  retain_until timestamptz,
  failed_attempts integer not null default 0 constraint users_failed_attempts check (failed_attempts >= 0),
  locked_until timestamptz,
  -- 244 random bits that key this person's pseudonym in the audit trail; they are destroyed with the row.
  audit_key bytea not null
    default (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
    constraint users_audit_key_length check (octet_length(audit_key) = 32),
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint users_consent_dated check ((consent_reference is null) = (consent_recorded_at is null))
);

create index users_retention on voice_auth.users (retain_until) where retain_until is not null;

create table voice_auth.voiceprints (
  user_id uuid primary key references voice_auth.users (id) on delete cascade,
  model_id text not null constraint voiceprints_model_length check (char_length(model_id) between 1 and 128),
  -- Encrypted by the service (AES-256-GCM); the database never sees an embedding.
  template bytea not null constraint voiceprints_template_size check (octet_length(template) between 31 and 65536),
  key_id text not null constraint voiceprints_key_length check (char_length(key_id) between 1 and 64),
  -- Within the integers that JSON numbers carry exactly.
  version bigint not null constraint voiceprints_version check (version between 1 and 9007199254740991),
  sample_count smallint not null constraint voiceprints_sample_count check (sample_count between 1 and 5),
  net_speech_ms integer not null constraint voiceprints_net_speech check (net_speech_ms >= 0),
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint voiceprints_user_model unique (user_id, model_id)
);

create table voice_auth.voice_samples (
  id uuid primary key,
  user_id uuid not null,
  model_id text not null,
  -- Five numbered places and a unique key: more than five samples cannot be stored.
  slot smallint not null constraint voice_samples_slot check (slot between 1 and 5),
  template bytea not null constraint voice_samples_template_size check (octet_length(template) between 31 and 65536),
  key_id text not null constraint voice_samples_key_length check (char_length(key_id) between 1 and 64),
  net_speech_ms integer not null constraint voice_samples_net_speech check (net_speech_ms >= 0),
  created_at timestamptz not null default clock_timestamp(),
  constraint voice_samples_user_slot unique (user_id, slot),
  -- Samples are of the voiceprint's model, and go when it goes.
  constraint voice_samples_voiceprint foreign key (user_id, model_id)
    references voice_auth.voiceprints (user_id, model_id) on delete cascade
);

create table voice_auth.auth_attempts (
  id uuid primary key,
  -- Null once the user has been erased. No `on delete` action: the row must be anonymised first.
  user_id uuid references voice_auth.users (id),
  correlation_id text constraint auth_attempts_correlation check (char_length(correlation_id) between 1 and 128),
  call_id text constraint auth_attempts_call check (char_length(call_id) between 1 and 256),
  source text not null constraint auth_attempts_source check (source in ('vapi_listen', 'upload', 'audio_url')),
  decision text not null constraint auth_attempts_decision check (decision in ('accept', 'reject', 'inconclusive')),
  reason text not null constraint auth_attempts_reason check (reason in (
    'match', 'no_match', 'insufficient_speech', 'no_caller_audio', 'mixed_audio', 'low_quality', 'caller_hung_up',
    'deadline', 'challenge_failed', 'replayed_audio', 'locked_out', 'not_enrolled')),
  score double precision constraint auth_attempts_score check (score between 0 and 1),
  threshold double precision not null constraint auth_attempts_threshold check (threshold between 0 and 1),
  model_id text not null constraint auth_attempts_model_length check (char_length(model_id) between 1 and 128),
  net_speech_ms integer not null constraint auth_attempts_net_speech check (net_speech_ms >= 0),
  looks integer not null constraint auth_attempts_looks check (looks >= 0),
  latency_ms integer not null constraint auth_attempts_latency check (latency_ms >= 0),
  created_at timestamptz not null default clock_timestamp(),
  constraint auth_attempts_anonymised check (
    (user_id is null) = (correlation_id is null) and (user_id is not null or call_id is null)),
  -- An accept is a match that cleared its threshold, whatever the service believed.
  constraint auth_attempts_accept check (
    (decision = 'accept') = (reason = 'match')
    and (decision <> 'accept' or coalesce(score >= threshold, false)))
);

-- Newest first, page after page, one user at a time.
create index auth_attempts_history on voice_auth.auth_attempts (user_id, created_at desc, id desc)
  where user_id is not null;
create index auth_attempts_age on voice_auth.auth_attempts (created_at);

create table voice_auth.rate_limits (
  -- A keyed digest made by the service: no address or user id is stored.
  key text primary key constraint rate_limits_key_length check (char_length(key) between 1 and 128),
  hits integer not null constraint rate_limits_hits check (hits >= 1),
  resets_at timestamptz not null
);

create index rate_limits_expiry on voice_auth.rate_limits (resets_at);

alter table voice_auth.users enable row level security;
alter table voice_auth.users force row level security;
alter table voice_auth.voiceprints enable row level security;
alter table voice_auth.voiceprints force row level security;
alter table voice_auth.voice_samples enable row level security;
alter table voice_auth.voice_samples force row level security;
alter table voice_auth.auth_attempts enable row level security;
alter table voice_auth.auth_attempts force row level security;
alter table voice_auth.rate_limits enable row level security;
alter table voice_auth.rate_limits force row level security;

revoke all on schema voice_auth from public, anon, authenticated, service_role;
revoke all on all tables in schema voice_auth from public, anon, authenticated, service_role;
