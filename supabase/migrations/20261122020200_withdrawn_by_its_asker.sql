-- A question that two processes were asked is withdrawn by the one that noted it last; the other's leaving took it away from
-- whoever still waited.

create or replace function public.va_ping() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object('schema_version', 7)
$$;

-- Its successor has one more argument, with a default: processes of the former version go on working meanwhile.
drop function public.va_call_withdraw(text, text, text);

-- The question is no longer waited for by p_asker (null: by anybody), or could not be answered: asked again, it is answered
-- anew. It stays with the process that listens while another one has noted it since.
create function public.va_call_withdraw(
  p_platform text, p_call_id text, p_request_id text, p_asker text default null
) returns jsonb
language plpgsql security definer set search_path = ''
as $$
begin
  update voice_auth.call_requests r
  set attempt_id = gen_random_uuid(),
      args = case when r.asker = coalesce(p_asker, r.asker) then null else r.args end,
      deadline_at = case when r.asker = coalesce(p_asker, r.asker) then clock_timestamp() else r.deadline_at end
  where r.platform = p_platform and r.call_id = p_call_id and r.request_id = p_request_id and r.answer is null;
  return to_jsonb(found);
end
$$;

revoke execute on function public.va_call_withdraw(text, text, text, text) from public, anon, authenticated;
grant execute on function public.va_call_withdraw(text, text, text, text) to service_role;
