-- How old an attempt is, the database says by its own clock: a server whose clock ran ahead had everybody's removed.

create or replace function public.va_ping() returns jsonb
language sql stable security definer set search_path = ''
as $$
  select jsonb_build_object('schema_version', 10)
$$;

-- Its successor takes what processes of the former version say as well: they go on working meanwhile.
drop function public.va_purge(timestamptz);

-- As before; attempts are removed that are older than p_attempt_retention_ms, none when it is null. p_attempts_before is
-- what processes of the former version give instead, by their own clock.
create function public.va_purge(p_attempts_before timestamptz default null, p_attempt_retention_ms bigint default null)
returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  v_before timestamptz := coalesce(
    clock_timestamp() - p_attempt_retention_ms * interval '1 millisecond', p_attempts_before);
  v_attempts integer;
  v_users integer := 0;
  v_rate_limits integer;
  v_calls integer;
  v_user_id uuid;
begin
  if p_attempt_retention_ms < 1 then
    raise exception 'p_attempt_retention_ms must be positive' using errcode = '22023';
  end if;
  for v_user_id in
    select u.id from voice_auth.users u where u.retain_until <= clock_timestamp()
    order by u.id limit 20 for update skip locked
  loop
    perform voice_auth.erase(v_user_id, 'user.retention_ended', 'retention', 'retention');
    v_users := v_users + 1;
  end loop;
  -- Rows that somebody else holds wait for the next time: waiting for them here, with the audit lock held, could deadlock
  -- with an erasure.
  with old as materialized (
    select b.id from voice_auth.auth_attempts b where b.created_at < v_before
    order by b.created_at limit 1000 for update skip locked)
  delete from voice_auth.auth_attempts a using old where a.id = old.id;
  get diagnostics v_attempts = row_count;
  with old as materialized (
    select b.key from voice_auth.rate_limits b where b.resets_at <= clock_timestamp()
    order by b.resets_at limit 1000 for update skip locked)
  delete from voice_auth.rate_limits r using old where r.key = old.key;
  get diagnostics v_rate_limits = row_count;
  with old as materialized (
    select o.platform, o.call_id from voice_auth.call_sessions o
    where o.updated_at < clock_timestamp() - interval '1 day'
    order by o.updated_at limit 1000 for update skip locked)
  delete from voice_auth.call_sessions s using old where s.platform = old.platform and s.call_id = old.call_id;
  get diagnostics v_calls = row_count;
  perform voice_auth.forget_old_calls();
  return jsonb_build_object(
    'users', v_users, 'attempts', v_attempts, 'rate_limits', v_rate_limits,
    'more', v_users = 20 or greatest(v_attempts, v_rate_limits, v_calls) = 1000);
end
$$;

revoke execute on function public.va_purge(timestamptz, bigint) from public, anon, authenticated;
grant execute on function public.va_purge(timestamptz, bigint) to service_role;
