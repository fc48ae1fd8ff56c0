-- After a change of model: who is still enrolled with another one.

create or replace function public.va_ping() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object('schema_version', 4)
$$;

-- Everything a page of the listing shows, in its order, so that the rows with their templates need not be read.
create index voiceprints_enrolled on voice_auth.voiceprints (created_at desc, user_id desc)
  include (model_id, sample_count);

-- {"total": all of them, "users": [...], "more": bool}: voiceprints of other models than p_model_id, last enrolled first,
-- older than (p_before_at, p_before_id) when given.
create function public.va_outdated_voiceprints(
  p_model_id text, p_limit integer, p_before_at timestamptz default null, p_before_id uuid default null
) returns jsonb
language plpgsql stable security definer set search_path = ''
as $$
declare
  v_users jsonb;
begin
  if p_model_id is null then
    raise exception 'p_model_id must be given' using errcode = '22023';
  end if;
  if p_limit is null or p_limit not between 1 and 200 then
    raise exception 'p_limit must be 1 to 200' using errcode = '22023';
  end if;
  select coalesce(jsonb_agg(to_jsonb(page) order by page.enrolled_at desc, page.user_id desc), '[]'::jsonb)
  into v_users
  from (
    select v.user_id, v.model_id, v.sample_count as samples, v.created_at as enrolled_at
    from voice_auth.voiceprints v
    where v.model_id <> p_model_id
      and (p_before_at is null or (v.created_at, v.user_id) < (p_before_at, p_before_id))
    order by v.created_at desc, v.user_id desc
    limit p_limit + 1) as page;
  return jsonb_build_object(
    'total', (select count(*) from voice_auth.voiceprints v where v.model_id <> p_model_id),
    'users', case when jsonb_array_length(v_users) > p_limit then v_users - p_limit else v_users end,
    'more', jsonb_array_length(v_users) > p_limit);
end
$$;

revoke execute on function public.va_outdated_voiceprints(text, integer, timestamptz, uuid)
  from public, anon, authenticated;
grant execute on function public.va_outdated_voiceprints(text, integer, timestamptz, uuid) to service_role;
