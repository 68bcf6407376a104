-- Each client goes on with its own session; the token of one answer is the next call's argument.
\if :started
\else
select refresh_token as token from chains where client = :client_id \gset
\set started 1
\endif
select auth.refresh(:token) ->> 'refresh_token' as token \gset
