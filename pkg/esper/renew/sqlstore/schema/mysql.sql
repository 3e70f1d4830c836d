CREATE TABLE IF NOT EXISTS esper_keys (
    name     varbinary(255) PRIMARY KEY,
    version  varbinary(64)  NOT NULL,
    document longblob       NOT NULL
) ENGINE = InnoDB;
