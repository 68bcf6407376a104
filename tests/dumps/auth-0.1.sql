--
-- PostgreSQL database dump
--

\restrict 22dW88OkIgue0OCU13aj6F0v9STKygpQKaEwEhaIlwobioqe1EKTHFyBgYXdC5n

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
1e58fda2-ab6b-4324-bd6f-ddb6486740b1	project	anon	\N	\N	\N	\N	\N	399fc113-237a-40f7-a036-f27d4975c8eb	{}	2026-11-21 12:29:09.021596+00	2036-11-21 12:29:09+00	\N	\N
\.


--
-- Data for Name: config; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config (only_row, site_url, jwt_issuer, environment, enable_signup, access_token_ttl, refresh_token_ttl, session_timebox, max_active_sessions, refresh_tokens_enabled, refresh_reuse_interval, refresh_reuse_scope, password_min_length, password_max_length, argon2_memory_kib, argon2_iterations, argon2_parallelism, claims_user_metadata, no_limit, updated_at) FROM stdin;
t	\N	\N	\N	\N	00:20:00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	{}	2026-11-21 12:29:09.039463+00
\.


--
-- Data for Name: config_history; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config_history (id, changed_by, changes, created_at) FROM stdin;
5625a836-a81e-45de-97b1-c27def33cd15	postgres	{"access_token_ttl": "20 minutes"}	2026-11-21 12:29:09.040558+00
\.


--
-- Data for Name: email_addresses; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.email_addresses (user_id, instance_id, aud, address, verified_at, is_primary, created_at, deleted_at) FROM stdin;
6fc5e33d-8a7f-4af9-8c3c-689a47f57a61	00000000-0000-0000-0000-000000000000	authenticated	first@example.com	\N	t	2026-11-21 12:29:08.994008+00	\N
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
c3e99ac8-64e9-47cb-9028-7504f9240ba8	6fc5e33d-8a7f-4af9-8c3c-689a47f57a61	email	6fc5e33d-8a7f-4af9-8c3c-689a47f57a61	{"sub": "6fc5e33d-8a7f-4af9-8c3c-689a47f57a61", "email": "first@example.com", "email_verified": false, "phone_verified": false}	2026-11-21 12:29:08.998481+00	2026-11-21 12:29:08.993512+00	2026-11-21 12:29:08.998598+00
\.


--
-- Data for Name: key_check; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.key_check (key_id, check_value) FROM stdin;
1	\\xca348d077762803b37a0d62c0cf46dc3
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
6fc5e33d-8a7f-4af9-8c3c-689a47f57a61	2026-11-21 12:29:08.993232+00	f
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
01a1fe14-f606-7f04-bd27-1a7e125fc69d	6fc5e33d-8a7f-4af9-8c3c-689a47f57a61	2026-11-21 12:29:09.000086+00	2026-11-21 12:29:09.000087+00	\N	aal1	[{"method": "password", "timestamp": 1795264148}]	2026-12-21 12:29:09.000087+00	2026-11-21 12:29:09.000087+00	\N	\N	\N	0	\N	\N
\.


--
-- Data for Name: signing_keys; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.signing_keys (kid, alg, status, public_jwk, private_sealed, created_at, retired_at) FROM stdin;
zzu0Tc7wvvF97aWHuoaeqc7z1ek6KAVhAM8kx8yBYGI	ES256	current	{"x": "5UEpNrP-7h7-P3QvpaAahuYtOmY6XSuaKCjLko9Oj3M", "y": "MubCqwgVqb3a06XJovWRxhzlw3UiTAI9EKkbKED7t3A", "alg": "ES256", "crv": "P-256", "kid": "zzu0Tc7wvvF97aWHuoaeqc7z1ek6KAVhAM8kx8yBYGI", "kty": "EC", "use": "sig", "key_ops": ["verify"]}	\\x01000000015c1fdd37577f57cffdb5be3012694c72c7e611e6c27804dedab38b2eb286fb16d25b8a360c1ad061e75fc8d8e51ba8c99bfc5f4bcedf19d150be5ca974a5b9ecce6b1d2dc6b25d058a16073412701c2b12872cd9fad5d4562084e64ca650824dd335b8e23e369f217fa95292c7de1d22e52b4bc80e3f401cf51ea089b998b42195f1ed72f77ccbb96f6dcc2b7a3510f8191903ffb3b0b4bdf501e375356b5df2611ca8b22738	2026-11-21 12:29:09.001968+00	\N
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.users (id, instance_id, aud, role, email, username, phone, encrypted_password, email_confirmed_at, phone_confirmed_at, invited_at, last_sign_in_at, raw_app_meta_data, raw_user_meta_data, is_anonymous, is_sso_user, banned_until, created_at, updated_at, deleted_at) FROM stdin;
6fc5e33d-8a7f-4af9-8c3c-689a47f57a61	00000000-0000-0000-0000-000000000000	authenticated	authenticated	first@example.com	\N	\N	$argon2id$v=19$m=19456,t=2,p=1$E6g6yb3aB/Kx0TmdfJ/ywQ$ULKcbg4ZgeEa/gHAr6qUnz9JYyeS/fKe7+MpvNNYOpo	\N	\N	\N	2026-11-21 12:29:08.996781+00	{"provider": "email", "providers": ["email"]}	{"name": "First"}	f	f	\N	2026-11-21 12:29:08.992433+00	2026-11-21 12:29:08.998423+00	\N
\.


--
-- Data for Name: notes; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.notes (owner_id, body) FROM stdin;
6fc5e33d-8a7f-4af9-8c3c-689a47f57a61	from 0.1
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

\unrestrict 22dW88OkIgue0OCU13aj6F0v9STKygpQKaEwEhaIlwobioqe1EKTHFyBgYXdC5n

