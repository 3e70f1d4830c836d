CREATE TABLE IF NOT EXISTS esper_keys (
    name     text  PRIMARY KEY,
    version  text  NOT NULL,
    document bytea NOT NULL
);
