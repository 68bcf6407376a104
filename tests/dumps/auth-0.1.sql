--
-- PostgreSQL database dump
--

\restrict g2jkTHmewpog9Fcc0VlJTO96WPCDBtlAm4stY8GMK9iehcaWVfjYOzYSifyl65I

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
a447a33e-0069-4a81-a003-6c647e99bff2	project	anon	\N	\N	\N	\N	\N	8710b32f-a87e-45a1-b343-b000bc816ad2	{}	2026-11-21 12:19:43.393827+00	2036-11-21 12:19:43+00	\N	\N
\.


--
-- Data for Name: config; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config (only_row, site_url, jwt_issuer, environment, enable_signup, access_token_ttl, refresh_token_ttl, session_timebox, max_active_sessions, refresh_tokens_enabled, refresh_reuse_interval, refresh_reuse_scope, password_min_length, password_max_length, argon2_memory_kib, argon2_iterations, argon2_parallelism, claims_user_metadata, no_limit, updated_at) FROM stdin;
t	\N	\N	\N	\N	00:20:00	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	\N	{}	2026-11-21 12:19:43.457491+00
\.


--
-- Data for Name: config_history; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.config_history (id, changed_by, changes, created_at) FROM stdin;
1476b8c0-b0d1-4771-bd53-5796bede94e6	postgres	{"access_token_ttl": "20 minutes"}	2026-11-21 12:19:43.458422+00
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.users (id, instance_id, aud, role, email, username, phone, encrypted_password, email_confirmed_at, phone_confirmed_at, invited_at, last_sign_in_at, raw_app_meta_data, raw_user_meta_data, is_anonymous, is_sso_user, banned_until, created_at, updated_at, deleted_at) FROM stdin;
301f8ac8-c117-472e-a5f5-9e65a5a33de4	00000000-0000-0000-0000-000000000000	authenticated	authenticated	first@example.com	\N	\N	$argon2id$v=19$m=19456,t=2,p=1$Q5493ruTRovZrlX2LHcRaw$DTajyR8e9HmQ4rubF+TkO2hAJD2lO6bpwErBw0fLVog	\N	\N	\N	2026-11-21 12:19:43.363793+00	{"provider": "email", "providers": ["email"]}	{"name": "First"}	f	f	\N	2026-11-21 12:19:43.358494+00	2026-11-21 12:19:43.365013+00	\N
\.


--
-- Data for Name: email_addresses; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.email_addresses (user_id, instance_id, aud, address, verified_at, is_primary, created_at) FROM stdin;
301f8ac8-c117-472e-a5f5-9e65a5a33de4	00000000-0000-0000-0000-000000000000	authenticated	first@example.com	\N	t	2026-11-21 12:19:43.359984+00
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
fefc5400-3eb6-4892-ae3c-2f881442efa7	301f8ac8-c117-472e-a5f5-9e65a5a33de4	email	301f8ac8-c117-472e-a5f5-9e65a5a33de4	{"sub": "301f8ac8-c117-472e-a5f5-9e65a5a33de4", "email": "first@example.com", "email_verified": false, "phone_verified": false}	\N	2026-11-21 12:19:43.359471+00	2026-11-21 12:19:43.359471+00
\.


--
-- Data for Name: key_check; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.key_check (key_id, check_value) FROM stdin;
1	\\x662a797ee0159fd96b0310df4d733688
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
301f8ac8-c117-472e-a5f5-9e65a5a33de4	2026-11-21 12:19:43.359214+00	f
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
01a1fe0c-5482-7cd8-a1ec-d8a43ab19263	301f8ac8-c117-472e-a5f5-9e65a5a33de4	2026-11-21 12:19:43.363576+00	2026-11-21 12:19:43.363576+00	\N	aal1	[{"method": "password", "timestamp": 1795263583}]	2026-12-21 12:19:43.363577+00	2026-11-21 12:19:43.363577+00	\N	\N	\N	0	\N	\N
\.


--
-- Data for Name: signing_keys; Type: TABLE DATA; Schema: auth; Owner: -
--

COPY auth.signing_keys (kid, alg, status, public_jwk, private_sealed, created_at, retired_at) FROM stdin;
tEkK8rwz9N9_wyHfeZl49fkK0P_0daPm96w1x0N2vHU	ES256	current	{"x": "9nZ8aFS6UQ4IyEX5S3vAMdPRonaXyBCnq8fYArHgoks", "y": "qztCHjES85Vv6oQ9eoWhFaGaBzJ_Vu2aggfxkvkmEuk", "alg": "ES256", "crv": "P-256", "kid": "tEkK8rwz9N9_wyHfeZl49fkK0P_0daPm96w1x0N2vHU", "kty": "EC", "use": "sig", "key_ops": ["verify"]}	\\x0100000001ba89ac581c6d5956677a74a52484618872242159e772894040c016a4faf74d6ff4ae6425f6ef468d007d86999b3e116170eee2266042f5d8230c400d409c899c939bb95f794c85f3600e1f58615466f61a956ea7f3406153df25903676dfac024a19b27f515ebd54220a05eef2ba05a2ecfdca657bf543d8f4c2114492511432d4ed1abfaf760bb20e0932c327edf5291b1fb3bee6d81381c6f3f566a753efca696ab58e569e	2026-11-21 12:19:43.366883+00	\N
\.


--
-- Data for Name: notes; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.notes (owner_id, body) FROM stdin;
301f8ac8-c117-472e-a5f5-9e65a5a33de4	from 0.1
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

\unrestrict g2jkTHmewpog9Fcc0VlJTO96WPCDBtlAm4stY8GMK9iehcaWVfjYOzYSifyl65I

