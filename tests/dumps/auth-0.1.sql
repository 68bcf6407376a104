--
-- PostgreSQL database dump
--

\restrict WPsirGOq2qVbWaulrroahUlcFbYOenQj9Mfwh0SCWx2VhfJAu3AaKPaGyIHV81g

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
1fc94849-85e6-44ce-8040-f40792100401	project	anon	\N	\N	\N	\N	\N	324e2040-c946-4fc4-91c5-2c5c91a4f194	{}	2026-11-21 12:50:02.887463+00	2036-11-21 12:50:02+00	\N	\N
\.


--
-- Data for Name: config; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config (only_row, site_url, jwt_issuer, environment, enable_signup, access_token_ttl, refresh_token_ttl, session_timebox, max_active_sessions, refresh_tokens_enabled, refresh_reuse_interval, refresh_reuse_scope, password_min_length, password_max_length, argon2_memory_kib, argon2_iterations, argon2_parallelism, claims_user_metadata, no_limit, updated_at) FROM stdin;
t	\N	\N	\N	\N	00:20:00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	{}	2026-11-21 12:50:02.946575+00
\.


--
-- Data for Name: config_history; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config_history (id, changed_by, changes, created_at) FROM stdin;
5288afb8-84dc-4702-8db7-d6b3f136438d	postgres	{"access_token_ttl": "20 minutes"}	2026-11-21 12:50:02.94741+00
\.


--
-- Data for Name: email_addresses; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.email_addresses (user_id, instance_id, aud, address, verified_at, is_primary, created_at, deleted_at) FROM stdin;
9affac67-25a1-4f92-93ab-a55b136a0c32	00000000-0000-0000-0000-000000000000	authenticated	first@example.com	\N	t	2026-11-21 12:50:02.777049+00	\N
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
24bade89-a6e4-4ced-88d3-128e700b1a13	9affac67-25a1-4f92-93ab-a55b136a0c32	email	9affac67-25a1-4f92-93ab-a55b136a0c32	{"sub": "9affac67-25a1-4f92-93ab-a55b136a0c32", "email": "first@example.com", "email_verified": false, "phone_verified": false}	2026-11-21 12:50:02.792741+00	2026-11-21 12:50:02.767538+00	2026-11-21 12:50:02.792832+00
\.


--
-- Data for Name: key_check; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.key_check (key_id, check_value) FROM stdin;
1	\\xa2f4db81ecfa3c3ad18604807ab6f5f4
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
9affac67-25a1-4f92-93ab-a55b136a0c32	2026-11-21 12:50:02.767379+00	f
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
01a1fe28-17a8-77c5-9e41-55b003db002f	9affac67-25a1-4f92-93ab-a55b136a0c32	2026-11-21 12:50:02.793862+00	2026-11-21 12:50:02.793862+00	\N	aal1	[{"method": "password", "timestamp": 1795265402}]	2026-12-21 12:50:02.793862+00	2026-11-21 12:50:02.793862+00	\N	\N	\N	0	\N	\N
\.


--
-- Data for Name: signing_keys; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.signing_keys (kid, alg, status, public_jwk, private_sealed, created_at, retired_at) FROM stdin;
2-Z8lKNA9Z-i4UjhyeV76ew-ZBeral8aI6gI8hKyH58	ES256	current	{"x": "tidxgegmr4hugx1pKlBchlu2bRSaNsN8oEcYOfd3-9A", "y": "Q1u_7OjK-b-48M9DBxfAo5vk1RvNaqPA2CrvfZuMHEc", "alg": "ES256", "crv": "P-256", "kid": "2-Z8lKNA9Z-i4UjhyeV76ew-ZBeral8aI6gI8hKyH58", "kty": "EC", "use": "sig", "key_ops": ["verify"]}	\\x01000000012036626ccbbca21971b4036a12fb9159e1fa74573bd5fc35eba077d79c4a21cdece6522baf055d1db1c574623ad3b6eb370ecb9ae84dad2ba71233b72cc89aa5eb1e5f635e8d6554a62f3e3d00aca9e2c107f74c503c2e679388ca8e44c3bf3ae061bf3f872c7b0118993c8269178ed0b5005557bd2058d3c561ac05995e7d49179dab663f79d851a08b19f69005fedd7c509a6ab798ea02218711aae440c89a04cd04334a36	2026-11-21 12:50:02.795194+00	\N
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.users (id, instance_id, aud, role, email, username, phone, encrypted_password, email_confirmed_at, phone_confirmed_at, invited_at, last_sign_in_at, raw_app_meta_data, raw_user_meta_data, is_anonymous, is_sso_user, banned_until, created_at, updated_at, deleted_at) FROM stdin;
9affac67-25a1-4f92-93ab-a55b136a0c32	00000000-0000-0000-0000-000000000000	authenticated	authenticated	first@example.com	\N	\N	$argon2id$v=19$m=19456,t=2,p=1$zv69NXaFv9CANjz4L2nj8Q$u26ShtmmDkV9QIxHco044YjK/TIbU4bNRstOu8o7tVw	\N	\N	\N	2026-11-21 12:50:02.782987+00	{"provider": "email", "providers": ["email"]}	{"name": "First"}	f	f	\N	2026-11-21 12:50:02.766928+00	2026-11-21 12:50:02.792677+00	\N
\.


--
-- Data for Name: notes; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.notes (owner_id, body) FROM stdin;
9affac67-25a1-4f92-93ab-a55b136a0c32	from 0.1
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

\unrestrict WPsirGOq2qVbWaulrroahUlcFbYOenQj9Mfwh0SCWx2VhfJAu3AaKPaGyIHV81g

