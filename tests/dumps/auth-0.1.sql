--
-- PostgreSQL database dump
--

\restrict OaZMTtafQRFZcx69UrZJ1bETv2AgayHhh9qDaHp7LzpKGYYpTWKWEutckEsemcj

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
59dd588f-989b-4879-8939-fc9faa562432	project	anon	\N	\N	\N	\N	\N	6bcbcbc4-7679-4805-b481-7b9256d303fd	{}	2026-11-21 12:24:23.1606+00	2036-11-21 12:24:23+00	\N	\N
\.


--
-- Data for Name: config; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config (only_row, site_url, jwt_issuer, environment, enable_signup, access_token_ttl, refresh_token_ttl, session_timebox, max_active_sessions, refresh_tokens_enabled, refresh_reuse_interval, refresh_reuse_scope, password_min_length, password_max_length, argon2_memory_kib, argon2_iterations, argon2_parallelism, claims_user_metadata, no_limit, updated_at) FROM stdin;
t	\N	\N	\N	\N	00:20:00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	{}	2026-11-21 12:24:23.17707+00
\.


--
-- Data for Name: config_history; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config_history (id, changed_by, changes, created_at) FROM stdin;
4033aed6-4c09-4400-8f1d-718ef38412ee	postgres	{"access_token_ttl": "20 minutes"}	2026-11-21 12:24:23.178086+00
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.users (id, instance_id, aud, role, email, username, phone, encrypted_password, email_confirmed_at, phone_confirmed_at, invited_at, last_sign_in_at, raw_app_meta_data, raw_user_meta_data, is_anonymous, is_sso_user, banned_until, created_at, updated_at, deleted_at) FROM stdin;
0612bf6c-1956-47a5-b33e-8a497c55ae78	00000000-0000-0000-0000-000000000000	authenticated	authenticated	first@example.com	\N	\N	$argon2id$v=19$m=19456,t=2,p=1$hYufrA9PxAPr6MMM28+fpg$mhZC/53FsosErIEbm2QlEMN34W2VoycEIW6HMLrH8Go	\N	\N	\N	2026-11-21 12:24:23.142254+00	{"provider": "email", "providers": ["email"]}	{"name": "First"}	f	f	\N	2026-11-21 12:24:23.136545+00	2026-11-21 12:24:23.143562+00	\N
\.


--
-- Data for Name: email_addresses; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.email_addresses (user_id, instance_id, aud, address, verified_at, is_primary, created_at, deleted_at) FROM stdin;
0612bf6c-1956-47a5-b33e-8a497c55ae78	00000000-0000-0000-0000-000000000000	authenticated	first@example.com	\N	t	2026-11-21 12:24:23.137858+00	\N
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
a5665deb-fff3-4d3a-a9fe-3ea89ef0036f	0612bf6c-1956-47a5-b33e-8a497c55ae78	email	0612bf6c-1956-47a5-b33e-8a497c55ae78	{"sub": "0612bf6c-1956-47a5-b33e-8a497c55ae78", "email": "first@example.com", "email_verified": false, "phone_verified": false}	\N	2026-11-21 12:24:23.137424+00	2026-11-21 12:24:23.137424+00
\.


--
-- Data for Name: key_check; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.key_check (key_id, check_value) FROM stdin;
1	\\x8a6cad10977e0823159405280f1f5477
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
0612bf6c-1956-47a5-b33e-8a497c55ae78	2026-11-21 12:24:23.137162+00	f
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
01a1fe10-9964-7458-a784-67378b96f832	0612bf6c-1956-47a5-b33e-8a497c55ae78	2026-11-21 12:24:23.142064+00	2026-11-21 12:24:23.142064+00	\N	aal1	[{"method": "password", "timestamp": 1795263863}]	2026-12-21 12:24:23.142064+00	2026-11-21 12:24:23.142064+00	\N	\N	\N	0	\N	\N
\.


--
-- Data for Name: signing_keys; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.signing_keys (kid, alg, status, public_jwk, private_sealed, created_at, retired_at) FROM stdin;
YErsUPG2aZLPzUOU9T4YrWmTcBvyZKKVSS9-r-kRm8s	ES256	current	{"x": "jqYqZvNgmzVPs2TZdmfz2ikFLeio6Xd7zJL-06h7oK4", "y": "7t7pYqQP-0xFMr921kSg2Uc4kvKA2poXheRvvVpy9FA", "alg": "ES256", "crv": "P-256", "kid": "YErsUPG2aZLPzUOU9T4YrWmTcBvyZKKVSS9-r-kRm8s", "kty": "EC", "use": "sig", "key_ops": ["verify"]}	\\x0100000001ef908954a1687710a5df3cd38de0b8331d60b2a8414a21f9d2e0b3138c3c6e09d9e1e19b91e2bb2d52493c5d99dc060bed849970b3207447698b6010370519faea365ec82b6e0b933ce40809c0d295b9647901d47275f22e7b267086bedb459198f7036fa259ec091f1bf19e23c4652332334af1ce781f0b938242c5750491ba59489388054f396405edd845375a3dd1f4c98f2e68ff89cbdbb43d72d84601198b800e5e3e8e	2026-11-21 12:24:23.145431+00	\N
\.


--
-- Data for Name: notes; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.notes (owner_id, body) FROM stdin;
0612bf6c-1956-47a5-b33e-8a497c55ae78	from 0.1
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

\unrestrict OaZMTtafQRFZcx69UrZJ1bETv2AgayHhh9qDaHp7LzpKGYYpTWKWEutckEsemcj

