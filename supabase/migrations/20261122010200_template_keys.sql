-- Which encryption keys are in use, and re-encryption with a new one. The service decrypts and encrypts; the database only
-- hands out templates of other keys and takes them back, if they are still what was handed out.

-- [{"key_id", "voiceprints", "samples"}]: how many templates each key has encrypted.
create function public.va_key_ids() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(jsonb_agg(to_jsonb(used) order by used.key_id), '[]'::jsonb) from (
    select k.key_id, sum(k.voiceprints) as voiceprints, sum(k.samples) as samples from (
      select v.key_id, count(*) as voiceprints, 0 as samples from voice_auth.voiceprints v group by v.key_id
      union all
      select s.key_id, 0, count(*) from voice_auth.voice_samples s group by s.key_id) as k
    group by k.key_id) as used
$$;

-- {"people": [{"user_id", "voiceprint", "samples"}], "more": bool}: templates that another key than p_key_id has encrypted, in
-- the order of user ids, after p_after when given. "voiceprint" is null when only samples are left.
create function public.va_templates_of_other_keys(
  p_key_id text, p_limit integer, p_after uuid default null
) returns jsonb
language plpgsql stable security definer set search_path = ''
as $$
declare
  v_people jsonb;
begin
  if p_key_id is null then
    raise exception 'p_key_id must be given' using errcode = '22023';
  end if;
  if p_limit is null or p_limit not between 1 and 200 then
    raise exception 'p_limit must be 1 to 200' using errcode = '22023';
  end if;
  select coalesce(jsonb_agg(to_jsonb(page) order by page.user_id), '[]'::jsonb)
  into v_people
  from (
    select
      v.user_id,
      case when v.key_id <> p_key_id then jsonb_build_object(
        'model_id', v.model_id, 'version', v.version, 'key_id', v.key_id,
        'template', '\x' || encode(v.template, 'hex')) end as voiceprint,
      coalesce((
        select jsonb_agg(jsonb_build_object(
          'id', s.id, 'model_id', s.model_id, 'key_id', s.key_id,
          'template', '\x' || encode(s.template, 'hex')) order by s.created_at, s.id)
        from voice_auth.voice_samples s where s.user_id = v.user_id and s.key_id <> p_key_id), '[]'::jsonb) as samples
    from voice_auth.voiceprints v
    where (p_after is null or v.user_id > p_after)
      and (v.key_id <> p_key_id or exists (
        select from voice_auth.voice_samples s where s.user_id = v.user_id and s.key_id <> p_key_id))
    order by v.user_id
    limit p_limit + 1) as page;
  return jsonb_build_object(
    'people', case when jsonb_array_length(v_people) > p_limit then v_people - p_limit else v_people end,
    'more', jsonb_array_length(v_people) > p_limit);
end
$$;

-- Puts templates of one person back that have been encrypted with p_key_id: p_voiceprint {"version", "key_id", "template"} or
-- null, p_samples [{"id", "key_id", "template"}], each only if version and key are still those that were handed out.
-- {"voiceprints", "samples"}: how many were. An audit event, unless none was.
create function public.va_put_back_templates(
  p_user_id uuid, p_key_id text, p_voiceprint jsonb, p_samples jsonb
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_user voice_auth.users;
  v_voiceprints integer;
  v_samples integer;
begin
  select * into v_user from voice_auth.users u where u.id = p_user_id for update;
  if not found then
    return jsonb_build_object('voiceprints', 0, 'samples', 0);
  end if;
  update voice_auth.voiceprints v set template = (p_voiceprint ->> 'template')::bytea, key_id = p_key_id
  where v.user_id = p_user_id and v.version = (p_voiceprint ->> 'version')::bigint
    and v.key_id = p_voiceprint ->> 'key_id';
  get diagnostics v_voiceprints = row_count;
  update voice_auth.voice_samples s set template = n.template, key_id = p_key_id
  from jsonb_to_recordset(p_samples) as n (id uuid, key_id text, template bytea)
  where s.user_id = p_user_id and s.id = n.id and s.key_id = n.key_id;
  get diagnostics v_samples = row_count;
  if v_voiceprints + v_samples > 0 then
    perform voice_auth.append_audit_event(
      'voiceprint.reencrypted', voice_auth.pseudonym(v_user.audit_key, p_user_id::text), 'key_rotation', 'key_rotation',
      jsonb_build_object('key_id', p_key_id, 'voiceprints', v_voiceprints, 'samples', v_samples));
  end if;
  return jsonb_build_object('voiceprints', v_voiceprints, 'samples', v_samples);
end
$$;

revoke execute on function public.va_key_ids() from public, anon, authenticated;
grant execute on function public.va_key_ids() to service_role;
revoke execute on function public.va_templates_of_other_keys(text, integer, uuid) from public, anon, authenticated;
grant execute on function public.va_templates_of_other_keys(text, integer, uuid) to service_role;
revoke execute on function public.va_put_back_templates(uuid, text, jsonb, jsonb) from public, anon, authenticated;
grant execute on function public.va_put_back_templates(uuid, text, jsonb, jsonb) to service_role;
