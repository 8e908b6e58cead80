-- The platform's tables, as far as the scheduler knows them.
--
-- These tables belong to the platform. The scheduler's migrations never create,
-- alter or drop them: this file exists for the development database
-- (internal/devdb) and for tests. Names, types, keys and the indexes named here
-- are the contract; the columns that only make a row look real are ours.
--
-- Every name is unqualified: search_path decides the schema. Nothing here is
-- IF NOT EXISTS: a database that has a platform already must refuse the file.
--
-- Sections: core, conversations, audit, sign-in, newer installs only, blog,
-- older installs only, the platform's earlier scheduler.

-- ---------------------------------------------------------------------------
-- Core: users, sessions, logs
-- ---------------------------------------------------------------------------

CREATE TABLE users (
    id         text PRIMARY KEY,
    name       varchar(255) NOT NULL UNIQUE,
    email      varchar(255) NOT NULL UNIQUE,
    status     text NOT NULL DEFAULT 'active'
               CHECK (status IN ('active', 'inactive', 'suspended', 'pending', 'deleted', 'temporary')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Wide, and indexed on nearly everything: an update that is not HOT pays for
-- each of the indexes below. None of them is on ended_at or has a predicate on
-- it, so ending a session can be a HOT update while its page has room.
CREATE TABLE user_sessions (
    session_id           text PRIMARY KEY,
    user_id              varchar(255) REFERENCES users (id) ON DELETE SET NULL,
    started_at           timestamptz NOT NULL DEFAULT now(),
    last_activity_at     timestamptz NOT NULL DEFAULT now(),
    ended_at             timestamptz,
    expires_at           timestamptz,
    revoked_at           timestamptz,
    duration_seconds     integer,
    -- where it came from
    ip_address           varchar(64),
    user_agent           text,
    device_type          varchar(32),
    browser              varchar(64),
    os                   varchar(64),
    locale               varchar(16),
    country              varchar(2),
    region               varchar(64),
    city                 varchar(128),
    referrer_source      varchar(128),
    referrer_url         text,
    landing_page         text,
    entry_url            text,
    utm_source           varchar(128),
    utm_medium           varchar(128),
    utm_campaign         varchar(128),
    utm_content          varchar(128),
    utm_term             varchar(128),
    client_id            varchar(255),
    client_type          varchar(32),
    session_source       varchar(32) NOT NULL DEFAULT 'web',
    fingerprint_hash     varchar(64),
    -- counters
    request_count        integer NOT NULL DEFAULT 0,
    task_count           integer NOT NULL DEFAULT 0,
    message_count        integer NOT NULL DEFAULT 0,
    ai_request_count     integer NOT NULL DEFAULT 0,
    total_tokens_used    bigint  NOT NULL DEFAULT 0,
    total_cost_micros    bigint  NOT NULL DEFAULT 0,
    error_count          integer NOT NULL DEFAULT 0,
    success_rate         real,
    avg_response_ms      real,
    -- flags
    is_bot               boolean NOT NULL DEFAULT false,
    is_ai_crawler        boolean NOT NULL DEFAULT false,
    is_scanner           boolean NOT NULL DEFAULT false,
    is_behavioral_bot    boolean NOT NULL DEFAULT false,
    behavioral_bot_score integer NOT NULL DEFAULT 0,
    throttle_level       integer NOT NULL DEFAULT 0,
    converted_at         timestamptz
);

CREATE INDEX idx_user_sessions_last_activity    ON user_sessions (last_activity_at);
CREATE INDEX idx_user_sessions_started          ON user_sessions (started_at);
CREATE INDEX idx_user_sessions_user             ON user_sessions (user_id);
-- and about 40 more
CREATE INDEX idx_user_sessions_user_started     ON user_sessions (user_id, started_at DESC);
CREATE INDEX idx_user_sessions_user_activity    ON user_sessions (user_id, last_activity_at DESC);
CREATE INDEX idx_user_sessions_started_desc     ON user_sessions (started_at DESC, session_id);
CREATE INDEX idx_user_sessions_activity_started ON user_sessions (last_activity_at DESC, started_at);
CREATE INDEX idx_user_sessions_expires          ON user_sessions (expires_at);
CREATE INDEX idx_user_sessions_revoked          ON user_sessions (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX idx_user_sessions_duration         ON user_sessions (duration_seconds);
CREATE INDEX idx_user_sessions_ip               ON user_sessions (ip_address);
CREATE INDEX idx_user_sessions_ip_started       ON user_sessions (ip_address, started_at);
CREATE INDEX idx_user_sessions_device           ON user_sessions (device_type);
CREATE INDEX idx_user_sessions_browser          ON user_sessions (browser);
CREATE INDEX idx_user_sessions_os               ON user_sessions (os);
CREATE INDEX idx_user_sessions_locale           ON user_sessions (locale);
CREATE INDEX idx_user_sessions_country          ON user_sessions (country);
CREATE INDEX idx_user_sessions_country_region   ON user_sessions (country, region);
CREATE INDEX idx_user_sessions_city             ON user_sessions (city);
CREATE INDEX idx_user_sessions_referrer         ON user_sessions (referrer_source);
CREATE INDEX idx_user_sessions_landing          ON user_sessions (landing_page);
CREATE INDEX idx_user_sessions_landing_started  ON user_sessions (landing_page, started_at DESC);
CREATE INDEX idx_user_sessions_entry            ON user_sessions (md5(entry_url));
CREATE INDEX idx_user_sessions_utm_source       ON user_sessions (utm_source);
CREATE INDEX idx_user_sessions_utm_medium       ON user_sessions (utm_medium);
CREATE INDEX idx_user_sessions_utm_campaign     ON user_sessions (utm_campaign);
CREATE INDEX idx_user_sessions_utm              ON user_sessions (utm_source, utm_medium, utm_campaign);
CREATE INDEX idx_user_sessions_client           ON user_sessions (client_id);
CREATE INDEX idx_user_sessions_client_type      ON user_sessions (client_type, started_at);
CREATE INDEX idx_user_sessions_source           ON user_sessions (session_source);
CREATE INDEX idx_user_sessions_fingerprint      ON user_sessions (fingerprint_hash);
CREATE INDEX idx_user_sessions_requests         ON user_sessions (request_count);
CREATE INDEX idx_user_sessions_messages         ON user_sessions (message_count) WHERE message_count > 0;
CREATE INDEX idx_user_sessions_ai_requests      ON user_sessions (ai_request_count);
CREATE INDEX idx_user_sessions_tokens           ON user_sessions (total_tokens_used DESC);
CREATE INDEX idx_user_sessions_cost             ON user_sessions (total_cost_micros DESC);
CREATE INDEX idx_user_sessions_errors           ON user_sessions (error_count) WHERE error_count > 0;
CREATE INDEX idx_user_sessions_bot              ON user_sessions (is_bot);
CREATE INDEX idx_user_sessions_human_started    ON user_sessions (started_at DESC) WHERE NOT is_bot AND NOT is_scanner;
CREATE INDEX idx_user_sessions_crawler          ON user_sessions (is_ai_crawler, started_at);
CREATE INDEX idx_user_sessions_scanner          ON user_sessions (is_scanner) WHERE is_scanner;
CREATE INDEX idx_user_sessions_bot_score        ON user_sessions (behavioral_bot_score DESC);
CREATE INDEX idx_user_sessions_throttle         ON user_sessions (throttle_level) WHERE throttle_level > 0;
CREATE INDEX idx_user_sessions_converted        ON user_sessions (converted_at) WHERE converted_at IS NOT NULL;

-- No foreign key at all: a log line outlives what it names.
CREATE TABLE logs (
    id          text PRIMARY KEY,
    "timestamp" timestamptz NOT NULL DEFAULT now(),
    level       varchar(16) NOT NULL,
    module      varchar(255) NOT NULL,
    message     text NOT NULL,
    user_id     varchar(255),
    session_id  varchar(255),
    context_id  varchar(255),
    task_id     varchar(255),
    trace_id    varchar(255)
);

CREATE INDEX idx_logs_timestamp      ON logs ("timestamp" DESC);
CREATE INDEX idx_logs_user_timestamp ON logs (user_id, "timestamp" DESC);

-- ---------------------------------------------------------------------------
-- Conversations: contexts, tasks, messages
-- ---------------------------------------------------------------------------

-- Deliberately no index on created_at.
CREATE TABLE user_contexts (
    context_id text PRIMARY KEY,
    user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_id text REFERENCES user_sessions (session_id) ON DELETE SET NULL,
    name       text NOT NULL,
    kind       text NOT NULL DEFAULT 'user', -- newer installs only
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE agent_tasks (
    task_id    text PRIMARY KEY,
    context_id text NOT NULL REFERENCES user_contexts (context_id) ON DELETE CASCADE,
    status     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_agent_tasks_context ON agent_tasks (context_id);

-- context_id: no index, no foreign key, and null allowed as on older installs
-- (a newer one has no null in it, which the rules need not know).
CREATE TABLE task_messages (
    id              serial PRIMARY KEY,
    task_id         text NOT NULL REFERENCES agent_tasks (task_id) ON DELETE CASCADE,
    message_id      text NOT NULL,
    role            text NOT NULL CHECK (role IN ('user', 'agent')),
    context_id      text,
    sequence_number integer NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_task_messages_task ON task_messages (task_id);

-- ---------------------------------------------------------------------------
-- Audit: MCP tool executions
-- ---------------------------------------------------------------------------

-- No foreign key at all.
CREATE TABLE mcp_tool_executions (
    mcp_execution_id text PRIMARY KEY,
    tool_name        varchar(255) NOT NULL,
    server_name      varchar(255) NOT NULL,
    started_at       timestamptz NOT NULL,
    input            text NOT NULL,
    status           varchar(32) NOT NULL,
    user_id          varchar(255) NOT NULL,
    context_id       varchar(255),
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_mcp_tool_executions_context ON mcp_tool_executions (context_id);
CREATE INDEX idx_mcp_tool_executions_created ON mcp_tool_executions (created_at DESC);

-- ---------------------------------------------------------------------------
-- Sign-in: OAuth clients, refresh tokens, authorization codes
-- ---------------------------------------------------------------------------

CREATE TABLE oauth_clients (
    client_id varchar(255) PRIMARY KEY
);

-- Deliberately no index on expires_at.
CREATE TABLE oauth_refresh_tokens (
    token_id    text PRIMARY KEY,
    client_id   varchar(255) NOT NULL REFERENCES oauth_clients (client_id) ON DELETE CASCADE,
    user_id     varchar(255) NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at  timestamptz NOT NULL,
    family_id   text NOT NULL,
    consumed_at timestamptz
);

CREATE TABLE oauth_auth_codes (
    code             varchar(255) PRIMARY KEY,
    client_id        varchar(255) NOT NULL REFERENCES oauth_clients (client_id) ON DELETE CASCADE,
    user_id          varchar(255) NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at       timestamptz NOT NULL,
    used_at          timestamptz,
    refresh_token_id text REFERENCES oauth_refresh_tokens (token_id) ON DELETE SET NULL
);

CREATE INDEX idx_oauth_auth_codes_expires ON oauth_auth_codes (expires_at);
CREATE INDEX idx_oauth_auth_codes_refresh ON oauth_auth_codes (refresh_token_id);

-- ---------------------------------------------------------------------------
-- Newer installs only (older.sql takes these away, and user_contexts.kind)
-- ---------------------------------------------------------------------------

CREATE TABLE governance_decisions (
    id         text PRIMARY KEY,
    context_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_governance_decisions_context ON governance_decisions (context_id);

CREATE TABLE oauth_state_bindings (
    state      text PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

CREATE TABLE oauth_jti_revocations (
    jti text PRIMARY KEY,
    exp timestamptz NOT NULL
);

CREATE TABLE id_jag_replay (
    jti        text PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- ---------------------------------------------------------------------------
-- The blog module
-- ---------------------------------------------------------------------------

CREATE TABLE markdown_content (
    id                        text PRIMARY KEY,
    slug                      text NOT NULL UNIQUE,
    title                     text NOT NULL,
    description               text NOT NULL DEFAULT '',
    body                      text NOT NULL,
    author                    text NOT NULL,
    published_at              timestamptz NOT NULL,
    keywords                  text NOT NULL DEFAULT '',
    kind                      text NOT NULL DEFAULT 'article',
    image                     text,
    image_optimization_status text,
    source_id                 text NOT NULL,
    version_hash              text NOT NULL,
    public                    boolean NOT NULL DEFAULT true,
    updated_at                timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_markdown_content_published ON markdown_content (published_at DESC);

-- ---------------------------------------------------------------------------
-- Older installs only
-- ---------------------------------------------------------------------------

CREATE TABLE conversation_evaluations (
    id                            serial PRIMARY KEY,
    context_id                    varchar(255) NOT NULL UNIQUE,
    goal_achieved                 varchar(16) NOT NULL CHECK (goal_achieved IN ('yes', 'no', 'partial')),
    goal_achievement_confidence   real NOT NULL CHECK (goal_achievement_confidence BETWEEN 0 AND 1),
    primary_category              varchar(255) NOT NULL,
    issues_encountered            text,
    overall_score                 real NOT NULL CHECK (overall_score BETWEEN 0 AND 1),
    evaluation_summary            text NOT NULL,
    total_turns                   integer NOT NULL,
    conversation_duration_seconds integer NOT NULL,
    completion_status             varchar(16) NOT NULL CHECK (completion_status IN ('completed', 'abandoned', 'error')),
    analyzed_at                   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_conversation_evaluations_analyzed ON conversation_evaluations (analyzed_at);
CREATE INDEX idx_conversation_evaluations_category ON conversation_evaluations (primary_category);

-- ---------------------------------------------------------------------------
-- The platform's earlier scheduler. Its table has the name of ours and lives in
-- public: neither side may ever hit the other's.
-- ---------------------------------------------------------------------------

CREATE TABLE scheduled_jobs (
    id          text PRIMARY KEY,
    job_name    varchar(255) NOT NULL UNIQUE,
    schedule    varchar(255) NOT NULL,
    enabled     boolean NOT NULL DEFAULT true,
    last_run    timestamptz,
    next_run    timestamptz,
    last_status varchar(32),
    last_error  text,
    run_count   integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
