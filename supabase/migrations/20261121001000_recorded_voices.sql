-- For a calibration from what is recorded anyway (`voice-auth calibrate --recorded`): voiceprints and samples of one model,
-- encrypted as they are, page after page. No phone numbers, no attempts. The service itself does not call this, so va_ping
-- stays as it is.

-- {"voices": [{"user_id", "version", "template", "samples": [...]}], "more": bool}, in the order of user ids, after
-- p_after when given. People whose retention has ended are left out, although they may not have been removed yet.
create function public.va_recorded_voices(
  p_model_id text, p_limit integer, p_after uuid default null
) returns jsonb
language plpgsql stable security definer set search_path = ''
as $$
declare
  v_voices jsonb;
begin
  if p_model_id is null then
    raise exception 'p_model_id must be given' using errcode = '22023';
  end if;
  if p_limit is null or p_limit not between 1 and 200 then
    raise exception 'p_limit must be 1 to 200' using errcode = '22023';
  end if;
  select coalesce(jsonb_agg(to_jsonb(page) order by page.user_id), '[]'::jsonb)
  into v_voices
  from (
    select
      v.user_id,
      v.version,
      '\x' || encode(v.template, 'hex') as template,
      coalesce((
        select jsonb_agg(jsonb_build_object(
          'id', s.id,
          'template', '\x' || encode(s.template, 'hex'),
          'net_speech_ms', s.net_speech_ms) order by s.created_at, s.id)
        from voice_auth.voice_samples s where s.user_id = v.user_id and s.model_id = v.model_id), '[]'::jsonb) as samples
    from voice_auth.voiceprints v join voice_auth.users u on u.id = v.user_id
    where v.model_id = p_model_id
      and (p_after is null or v.user_id > p_after)
      and (u.retain_until is null or u.retain_until > clock_timestamp())
    order by v.user_id
    limit p_limit + 1) as page;
  return jsonb_build_object(
    'voices', case when jsonb_array_length(v_voices) > p_limit then v_voices - p_limit else v_voices end,
    'more', jsonb_array_length(v_voices) > p_limit);
end
$$;

revoke execute on function public.va_recorded_voices(text, integer, uuid) from public, anon, authenticated;
grant execute on function public.va_recorded_voices(text, integer, uuid) to service_role;
