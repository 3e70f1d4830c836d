CREATE TABLE IF NOT EXISTS esper_keys (
    name     text NOT NULL PRIMARY KEY,
    version  text NOT NULL,
    document blob NOT NULL
);
