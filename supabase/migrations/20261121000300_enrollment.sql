-- Users and their voiceprints. Every function is one transaction, runs as its owner with an empty search path, and may be
-- executed by service_role only.
-- SQLSTATEs of our own: VA001 the voiceprint is not the one that was read, VA002 registered with another phone number,
-- VA003 kept samples of another model, VA004 no such user, VA005 attempt id already used, VA006 audit trail is append-only.

-- Counts up with every migration that the service depends on; asked for at start and by readiness.
create function public.va_ping() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object('schema_version', 1)
$$;

-- The user with voiceprint and samples (oldest first), or null.
create function public.va_find_user(p_user_id uuid) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'user_id', u.id,
    'phone', u.phone,
    'locked_until', case when u.locked_until > clock_timestamp() then u.locked_until end,
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

-- Creates or updates the user, replaces the voiceprint if it is still the one that was read (p_expected_version, 0 for
-- none), keeps the named samples, deletes the others, adds the new one, appends an audit event.
create function public.va_save_enrollment(
  p_user_id uuid, p_phone text, p_consent_reference text, p_model_id text, p_expected_version bigint, p_version bigint,
  p_key_id text, p_template bytea, p_net_speech_ms integer, p_sample_id uuid, p_sample_template bytea,
  p_sample_net_speech_ms integer, p_kept_sample_ids uuid[], p_correlation_id text, p_actor text
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_user voice_auth.users;
  v_current_version bigint;
  v_kept integer;
  v_slot smallint;
begin
  if p_version is null or p_expected_version is null or p_version <= p_expected_version then
    raise exception 'a voiceprint version must count up' using errcode = '22023';
  end if;
  insert into voice_auth.users (id, phone) values (p_user_id, p_phone) on conflict (id) do nothing;
  select * into v_user from voice_auth.users u where u.id = p_user_id for update;
  if not found then
    raise exception 'the user was erased meanwhile' using errcode = 'VA001';
  end if;
  if v_user.phone <> p_phone then
    raise exception 'the user is registered with another phone number' using errcode = 'VA002';
  end if;
  select v.version into v_current_version from voice_auth.voiceprints v where v.user_id = p_user_id;
  if coalesce(v_current_version, 0) <> p_expected_version then
    raise exception 'the voiceprint has changed' using errcode = 'VA001';
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
    sample_count = excluded.sample_count, net_speech_ms = excluded.net_speech_ms, updated_at = clock_timestamp();

  select min(n) into v_slot from generate_series(1, 5) as n
  where not exists (select from voice_auth.voice_samples s where s.user_id = p_user_id and s.slot = n);
  insert into voice_auth.voice_samples (id, user_id, model_id, slot, template, key_id, net_speech_ms)
  values (p_sample_id, p_user_id, p_model_id, v_slot, p_sample_template, p_key_id, p_sample_net_speech_ms);

  perform voice_auth.append_audit_event(
    case when p_expected_version = 0 then 'voiceprint.created' else 'voiceprint.updated' end,
    voice_auth.pseudonym(v_user.audit_key, p_user_id::text),
    voice_auth.pseudonym(v_user.audit_key, p_correlation_id),
    p_actor,
    jsonb_build_object('model_id', p_model_id, 'samples', v_kept + 1, 'consent', p_consent_reference is not null));
  return jsonb_build_object('samples', v_kept + 1, 'version', p_version);
end
$$;

-- Enrollment, lock and last attempt of a user, or null.
create function public.va_user_status(p_user_id uuid) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object(
    'user_id', u.id,
    'model_id', v.model_id,
    'samples', coalesce(v.sample_count, 0),
    'net_speech_ms', coalesce(v.net_speech_ms, 0),
    'enrolled_at', v.created_at,
    'locked_until', case when u.locked_until > clock_timestamp() then u.locked_until end,
    'failed_attempts', case when u.locked_until <= clock_timestamp() then 0 else u.failed_attempts end,
    'last_attempt', (
      select to_jsonb(a) - 'user_id' from voice_auth.auth_attempts a
      where a.user_id = u.id order by a.created_at desc, a.id desc limit 1))
  from voice_auth.users u left join voice_auth.voiceprints v on v.user_id = u.id
  where u.id = p_user_id
$$;

-- Deletes a person and all templates, and cuts the attempts loose: what stays is decision statistics that belong to
-- nobody, under new ids, because the old ones are in logs and answers next to the person's id.
create function voice_auth.erase(p_user_id uuid, p_action text, p_request_ref text, p_actor text) returns boolean
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
  delete from voice_auth.users u where u.id = p_user_id;
  perform voice_auth.append_audit_event(
    p_action, voice_auth.pseudonym(v_user.audit_key, p_user_id::text), p_request_ref, p_actor,
    jsonb_build_object('attempts_anonymised', v_attempts));
  return true;
end
$$;

revoke execute on function voice_auth.erase(uuid, text, text, text) from public, anon, authenticated, service_role;

-- True when the user existed and is gone now.
create function public.va_erase_user(p_user_id uuid, p_correlation_id text, p_actor text) returns jsonb
language sql security definer set search_path = ''
as $$
  select to_jsonb(voice_auth.erase(p_user_id, 'user.erased', p_correlation_id, p_actor))
$$;

revoke execute on function public.va_ping() from public, anon, authenticated;
grant execute on function public.va_ping() to service_role;
revoke execute on function public.va_find_user(uuid) from public, anon, authenticated;
grant execute on function public.va_find_user(uuid) to service_role;
revoke execute on function public.va_save_enrollment(
  uuid, text, text, text, bigint, bigint, text, bytea, integer, uuid, bytea, integer, uuid[], text, text
) from public, anon, authenticated;
grant execute on function public.va_save_enrollment(
  uuid, text, text, text, bigint, bigint, text, bytea, integer, uuid, bytea, integer, uuid[], text, text
) to service_role;
revoke execute on function public.va_user_status(uuid) from public, anon, authenticated;
grant execute on function public.va_user_status(uuid) to service_role;
revoke execute on function public.va_erase_user(uuid, text, text) from public, anon, authenticated;
grant execute on function public.va_erase_user(uuid, text, text) to service_role;
