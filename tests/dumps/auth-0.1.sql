--
-- PostgreSQL database dump
--

\restrict 2Cw2GcyDvWuzMCB2W0zRFstZXwQpkV4pqGZCdDdcNbbLrr5IbTkIWndBkGQ8jps

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
9e8a1900-5180-46a6-bc96-1c58476bbd2f	project	anon	\N	\N	\N	\N	\N	dd1a5e7d-7280-43a9-a5b9-9b3b156fb786	{}	2026-11-21 13:04:37.157517+00	2036-11-21 13:04:37+00	\N	\N
\.


--
-- Data for Name: config; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config (only_row, site_url, jwt_issuer, environment, enable_signup, access_token_ttl, refresh_token_ttl, session_timebox, max_active_sessions, refresh_tokens_enabled, refresh_reuse_interval, refresh_reuse_scope, password_min_length, password_max_length, argon2_memory_kib, argon2_iterations, argon2_parallelism, claims_user_metadata, no_limit, updated_at) FROM stdin;
t	\N	\N	\N	\N	00:20:00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	{}	2026-11-21 13:04:37.196353+00
\.


--
-- Data for Name: config_history; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config_history (id, changed_by, changes, created_at) FROM stdin;
87a48a73-1c08-443e-9dfe-01cfcc3fbc52	postgres	{"access_token_ttl": "20 minutes"}	2026-11-21 13:04:37.197418+00
\.


--
-- Data for Name: email_addresses; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.email_addresses (user_id, instance_id, aud, address, verified_at, is_primary, created_at, deleted_at) FROM stdin;
4805aa33-029b-447a-8efa-93a74c268036	00000000-0000-0000-0000-000000000000	authenticated	first@example.com	\N	t	2026-11-21 13:04:37.120613+00	\N
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
1459aee8-3cb3-4074-9748-da7e3e051f7c	4805aa33-029b-447a-8efa-93a74c268036	email	4805aa33-029b-447a-8efa-93a74c268036	{"sub": "4805aa33-029b-447a-8efa-93a74c268036", "email": "first@example.com", "email_verified": false, "phone_verified": false}	2026-11-21 13:04:37.124898+00	2026-11-21 13:04:37.120132+00	2026-11-21 13:04:37.125007+00
\.


--
-- Data for Name: key_check; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.key_check (key_id, check_value) FROM stdin;
1	\\x1f54f50c02adf4a265a99479999a2365
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
4805aa33-029b-447a-8efa-93a74c268036	2026-11-21 13:04:37.11983+00	f
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
01a1fe35-6f05-788b-86e3-79ed9f185533	4805aa33-029b-447a-8efa-93a74c268036	2026-11-21 13:04:37.126459+00	2026-11-21 13:04:37.126459+00	\N	aal1	[{"method": "password", "timestamp": 1795266277}]	2026-12-21 13:04:37.126459+00	2026-11-21 13:04:37.12646+00	\N	\N	\N	0	\N	\N
\.


--
-- Data for Name: signing_keys; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.signing_keys (kid, alg, status, public_jwk, private_sealed, created_at, retired_at) FROM stdin;
g9RYv7tmCBl8M7EBatQ0BUW0PKKQp8hYYbVO-Jkre2c	ES256	current	{"x": "OHpcCYrB7HJnXYLHrOH9xnABsZhMQEfDsyXmDOGvGAM", "y": "QAeBpQ1blgfdz0HuxTYoOfVb_HNfvQ02S8nfVVSVdco", "alg": "ES256", "crv": "P-256", "kid": "g9RYv7tmCBl8M7EBatQ0BUW0PKKQp8hYYbVO-Jkre2c", "kty": "EC", "use": "sig", "key_ops": ["verify"]}	\\x0100000001ebc74419259af9a41ce2f6f0c631c8d38a1c248676b68a40ca7fdc6de2cf5e2584cd6a49b4ac73f945f3bc86f17fb328d47974db1aac8ef720aa8d1f607d32dd5394a08be53f9da11d340aa90c6215d39cd586ead081cd27b2fa09a3313d59f48e53ccf4e8451fbd79fba508b58c389fc475097b8bfb183c9c6dba99f3b7ce0c86fc7a64b35e47a31c0dfcff7cdf299b9fd5848f877f8ca5b84ef2dee499b638ecf91787ff07	2026-11-21 13:04:37.128253+00	\N
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.users (id, instance_id, aud, role, email, username, phone, encrypted_password, email_confirmed_at, phone_confirmed_at, invited_at, last_sign_in_at, raw_app_meta_data, raw_user_meta_data, is_anonymous, is_sso_user, banned_until, created_at, updated_at, deleted_at) FROM stdin;
4805aa33-029b-447a-8efa-93a74c268036	00000000-0000-0000-0000-000000000000	authenticated	authenticated	first@example.com	\N	\N	$argon2id$v=19$m=19456,t=2,p=1$qkeEfyI24bol/8csBsUTmQ$cg8T2wx8d0OrSEmVJ0pNxPtgRv2J7CNwG3SdChALIg4	\N	\N	\N	2026-11-21 13:04:37.123386+00	{"provider": "email", "providers": ["email"]}	{"name": "First"}	f	f	\N	2026-11-21 13:04:37.114988+00	2026-11-21 13:04:37.124847+00	\N
\.


--
-- Data for Name: notes; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.notes (owner_id, body) FROM stdin;
4805aa33-029b-447a-8efa-93a74c268036	from 0.1
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

\unrestrict 2Cw2GcyDvWuzMCB2W0zRFstZXwQpkV4pqGZCdDdcNbbLrr5IbTkIWndBkGQ8jps

