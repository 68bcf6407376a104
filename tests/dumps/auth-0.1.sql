--
-- PostgreSQL database dump
--

\restrict 2zv8CuXFIbGdgdUHVoqhBRC9qKFL2su7eys1kXufOwIEvphBJ39uWX8aSEBtQZn

-- Dumped from database version 15.20 (Debian 15.20-0+deb12u1)
-- Dumped by pg_dump version 15.20 (Debian 15.20-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: auth; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS auth WITH SCHEMA pg_catalog;


--
-- Name: EXTENSION auth; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON EXTENSION auth IS 'authentication inside Postgres: sign-up, sign-in, sessions and an auth.uid() that row-level security can trust';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: notes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.notes (
    owner_id uuid DEFAULT auth.uid() NOT NULL,
    body text
);


--
-- Data for Name: api_keys; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.api_keys (id, kind, role, user_id, org_id, name, prefix, key_hash, jti, scopes, created_at, expires_at, last_used_at, revoked_at) FROM stdin;
ce011f50-64b9-4b4d-9fab-94ab6a5e324c	project	anon	\N	\N	\N	\N	\N	f91362af-2e3f-488d-b7a1-c76437a87cf5	{}	2026-11-21 12:33:36.538169+00	2036-11-21 12:33:36+00	\N	\N
\.


--
-- Data for Name: config; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config (only_row, site_url, jwt_issuer, environment, enable_signup, access_token_ttl, refresh_token_ttl, session_timebox, max_active_sessions, refresh_tokens_enabled, refresh_reuse_interval, refresh_reuse_scope, password_min_length, password_max_length, argon2_memory_kib, argon2_iterations, argon2_parallelism, claims_user_metadata, no_limit, updated_at) FROM stdin;
t	\N	\N	\N	\N	00:20:00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	{}	2026-11-21 12:33:36.592642+00
\.


--
-- Data for Name: config_history; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config_history (id, changed_by, changes, created_at) FROM stdin;
d1310117-e4cc-4d74-a292-ee20a04c34d9	postgres	{"access_token_ttl": "20 minutes"}	2026-11-21 12:33:36.593604+00
\.


--
-- Data for Name: email_addresses; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.email_addresses (user_id, instance_id, aud, address, verified_at, is_primary, created_at, deleted_at) FROM stdin;
e129505a-f47c-4382-a950-e967e1f2308e	00000000-0000-0000-0000-000000000000	authenticated	first@example.com	\N	t	2026-11-21 12:33:36.486407+00	\N
\.


--
-- Data for Name: hooks; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.hooks (event, function, created_by, created_at) FROM stdin;
\.


--
-- Data for Name: identities; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.identities (id, user_id, provider, provider_id, identity_data, last_sign_in_at, created_at, updated_at) FROM stdin;
183991b5-45a6-4d81-9b17-92e0eb6711cd	e129505a-f47c-4382-a950-e967e1f2308e	email	e129505a-f47c-4382-a950-e967e1f2308e	{"sub": "e129505a-f47c-4382-a950-e967e1f2308e", "email": "first@example.com", "email_verified": false, "phone_verified": false}	2026-11-21 12:33:36.489865+00	2026-11-21 12:33:36.486063+00	2026-11-21 12:33:36.489948+00
\.


--
-- Data for Name: key_check; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.key_check (key_id, check_value) FROM stdin;
1	\\x65ee3cc0e30e215c5d272d4e062d05ac
\.


--
-- Data for Name: one_time_tokens; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.one_time_tokens (id, user_id, purpose, relates_to, link_hash, code_hash, code_expires_at, expires_at, redirect_to, code_challenge, created_at) FROM stdin;
\.


--
-- Data for Name: password_state; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.password_state (user_id, changed_at, must_change) FROM stdin;
e129505a-f47c-4382-a950-e967e1f2308e	2026-11-21 12:33:36.485804+00	f
\.


--
-- Data for Name: pending_sign_ups; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.pending_sign_ups (id, instance_id, aud, email, password, data, link_hash, code_hash, code_expires_at, expires_at, redirect_to, code_challenge, created_at) FROM stdin;
\.


--
-- Data for Name: revocations; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.revocations (scope, subject, not_before, reason, created_at) FROM stdin;
\.


--
-- Data for Name: sessions; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.sessions (id, user_id, created_at, updated_at, factor_id, aal, amr, not_after, refreshed_at, user_agent, ip, tag, refresh_token_counter, org_id, restricted) FROM stdin;
01a1fe19-0ae9-7f50-bcd0-a37366c4c467	e129505a-f47c-4382-a950-e967e1f2308e	2026-11-21 12:33:36.490991+00	2026-11-21 12:33:36.490991+00	\N	aal1	[{"method": "password", "timestamp": 1795264416}]	2026-12-21 12:33:36.490992+00	2026-11-21 12:33:36.490992+00	\N	\N	\N	0	\N	\N
\.


--
-- Data for Name: signing_keys; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.signing_keys (kid, alg, status, public_jwk, private_sealed, created_at, retired_at) FROM stdin;
K7E7FWq-KoHvQHq8KyMi8KhlQpTI2j3A4TqMlhqg-ag	ES256	current	{"x": "h9fFpvHI1S5eDAzFgs48Z2SLohJdggisMk86DOIjH34", "y": "cIbTUUJSqCmtdMJthHjTAUx6ztiu-c1LbqFeI9HiiqE", "alg": "ES256", "crv": "P-256", "kid": "K7E7FWq-KoHvQHq8KyMi8KhlQpTI2j3A4TqMlhqg-ag", "kty": "EC", "use": "sig", "key_ops": ["verify"]}	\\x010000000118f919e9f6d331d79bf0ca1004c0d3a6aec699ea0f5c2858786ea82638841333eb255cd9e5bfb1644c673f970bdc28db8f4eef53b3acd7f2115f9f531fce60b9caf05d1bdc494885bb0732b014681787404e2e9b3a236d22c279ce85f8937d28f8f6dd38d19728246634959ed7e7d7337b4ccdc4bfeb38f1cd83c64788d4aaf312f5d171433b0094ba0459c1f5b93ff3174bc1de08b0f7d4c7b53632228ba799c982448e8769	2026-11-21 12:33:36.492518+00	\N
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.users (id, instance_id, aud, role, email, username, phone, encrypted_password, email_confirmed_at, phone_confirmed_at, invited_at, last_sign_in_at, raw_app_meta_data, raw_user_meta_data, is_anonymous, is_sso_user, banned_until, created_at, updated_at, deleted_at) FROM stdin;
e129505a-f47c-4382-a950-e967e1f2308e	00000000-0000-0000-0000-000000000000	authenticated	authenticated	first@example.com	\N	\N	$argon2id$v=19$m=19456,t=2,p=1$1a3uqAGC/A02Q1yza/izxw$nctzNQHpZdd0zPyrUzK3FDi+kR9r0wijZUDkct05o3I	\N	\N	\N	2026-11-21 12:33:36.488602+00	{"provider": "email", "providers": ["email"]}	{"name": "First"}	f	f	\N	2026-11-21 12:33:36.485071+00	2026-11-21 12:33:36.489815+00	\N
\.


--
-- Data for Name: notes; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.notes (owner_id, body) FROM stdin;
e129505a-f47c-4382-a950-e967e1f2308e	from 0.1
\.


--
-- Name: notes notes_owner_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.notes
    ADD CONSTRAINT notes_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES auth.users(id);


--
-- Name: notes; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;

--
-- Name: notes own; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY own ON public.notes USING ((owner_id = auth.uid()));


--
-- PostgreSQL database dump complete
--

\unrestrict 2zv8CuXFIbGdgdUHVoqhBRC9qKFL2su7eys1kXufOwIEvphBJ39uWX8aSEBtQZn

