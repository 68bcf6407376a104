with found as (
    select a.*
    from auth.audit_log as a
    where $1 is null
        or $2 in ('action', 'any') and a.event_type ilike $1
        or $2 in ('author', 'any') and (a.user_id::text ilike $1 or a.event_data ->> 'email' ilike $1)
), page as (
    select f.* from found as f order by f.created_at desc, f.id desc limit $3 offset $4
)
select jsonb_build_object(
    'entries', coalesce((
        select jsonb_agg(jsonb_build_object(
            'id', p.id,
            'payload', jsonb_build_object(
                'action', p.event_type,
                'actor_id', p.user_id,
                'session_id', p.session_id,
                'success', p.success,
                'code', p.code,
                'traits', p.event_data,
                'user_agent', p.user_agent,
                'count', p.count,
                'timestamp', auth.rfc3339(p.created_at)),
            'created_at', auth.rfc3339(p.created_at),
            'ip_address', coalesce(host(p.ip), '')
        ) order by p.created_at desc, p.id desc)
        from page as p
    ), '[]'),
    'total', (select count(*) from found))
