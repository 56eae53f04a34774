-- The ledger's tables, version 2. A documented, stable interface: docs/reference/ledger.md.
-- Money is in whole picodollars (USD * 10^12), times are Unix seconds, durations seconds.

CREATE TABLE requests (
    id                 TEXT    NOT NULL PRIMARY KEY,
    time               REAL    NOT NULL,
    policy_hash        TEXT    NOT NULL,
    task               TEXT    NOT NULL,
    feature            TEXT,
    tenant             TEXT,
    session            TEXT,
    shape              TEXT    NOT NULL,
    mode               TEXT    NOT NULL,
    plan               TEXT    NOT NULL,
    tier_planned       TEXT    NOT NULL,
    cheap              INTEGER NOT NULL,
    tier               TEXT,
    model              TEXT,
    ending             TEXT    NOT NULL,
    forced             INTEGER NOT NULL,
    escalated          INTEGER NOT NULL,
    attempts           INTEGER NOT NULL,
    retries            INTEGER NOT NULL,
    failovers          INTEGER NOT NULL,
    cutoffs            INTEGER NOT NULL,
    downgrades         INTEGER NOT NULL,
    reasks             INTEGER NOT NULL,
    prompt_tokens      INTEGER,
    completion_tokens  INTEGER,
    cached_tokens      INTEGER,
    cache_write_tokens INTEGER,
    reasoning_tokens   INTEGER,
    cost               INTEGER,
    cost_known         INTEGER NOT NULL,
    unknown_attempts   INTEGER NOT NULL,
    baseline           INTEGER,
    duration           REAL    NOT NULL,
    first_token        REAL,
    reasons            TEXT    NOT NULL,
    error              TEXT,
    key                TEXT,
    prompt_estimate    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE plans (
    hash TEXT NOT NULL PRIMARY KEY,
    plan TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_time ON requests (time);

CREATE TABLE attempts (
    request_id         TEXT    NOT NULL,
    number             INTEGER NOT NULL,
    "on"               TEXT    NOT NULL,
    tier               TEXT    NOT NULL,
    model_asked        TEXT    NOT NULL,
    model_served       TEXT    NOT NULL,
    wire_model         TEXT,
    provider           TEXT,
    generation_id      TEXT,
    form               TEXT    NOT NULL,
    max_tokens         INTEGER NOT NULL,
    outcome            TEXT    NOT NULL,
    won                INTEGER NOT NULL,
    accepted           INTEGER,
    reasons            TEXT    NOT NULL,
    trail              TEXT    NOT NULL,
    finish             TEXT,
    native_finish      TEXT,
    fault              TEXT,
    fault_status       INTEGER,
    prompt_tokens      INTEGER,
    completion_tokens  INTEGER,
    cached_tokens      INTEGER,
    cache_write_tokens INTEGER,
    reasoning_tokens   INTEGER,
    cost               INTEGER,
    computed_cost      INTEGER,
    reported_cost      INTEGER,
    started            REAL    NOT NULL,
    duration           REAL    NOT NULL,
    first_token        REAL,
    PRIMARY KEY (request_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE losses (
    id     TEXT    NOT NULL PRIMARY KEY,
    time   REAL    NOT NULL,
    kind   TEXT    NOT NULL,
    count  INTEGER NOT NULL,
    reason TEXT    NOT NULL
) STRICT;

CREATE TABLE journals (
    name   TEXT    NOT NULL PRIMARY KEY,
    offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
