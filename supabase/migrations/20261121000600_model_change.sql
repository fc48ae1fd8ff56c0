-- The model of a deployment can change: a person's voiceprint of the old model is replaced by one of the new model when that
-- is asked for by name, in one transaction, and with an audit event of its own. Until now a save without kept samples
-- replaced it without being asked.

create or replace function public.va_ping() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object('schema_version', 3)
$$;

-- Its successor has one more argument, with a default: processes of the former version go on working meanwhile.
drop function public.va_save_enrollment(
  uuid, text, text, text, bigint, bigint, text, bytea, integer, uuid, bytea, integer, uuid[], text, text
);

-- Creates or updates the user, replaces the voiceprint if it is still the one that was read (p_expected_version, 0 for
-- none), keeps the named samples, deletes the others, adds the new one, appends an audit event. A voiceprint of another
-- model is replaced only when p_replaces_model names that model, and then none of its samples is kept.
create function public.va_save_enrollment(
  p_user_id uuid, p_phone text, p_consent_reference text, p_model_id text, p_expected_version bigint, p_version bigint,
  p_key_id text, p_template bytea, p_net_speech_ms integer, p_sample_id uuid, p_sample_template bytea,
  p_sample_net_speech_ms integer, p_kept_sample_ids uuid[], p_correlation_id text, p_actor text,
  p_replaces_model text default null
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
  uuid, text, text, text, bigint, bigint, text, bytea, integer, uuid, bytea, integer, uuid[], text, text, text
) from public, anon, authenticated;
grant execute on function public.va_save_enrollment(
  uuid, text, text, text, bigint, bigint, text, bytea, integer, uuid, bytea, integer, uuid[], text, text, text
) to service_role;
