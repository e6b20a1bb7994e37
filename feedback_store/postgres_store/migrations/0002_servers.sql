-- What the servers of one collection share besides judgments: leases, and the secrets of personal links.
CREATE TABLE IF NOT EXISTS image_rlhf.items (  -- a row to lock for each question that was ever assigned
    collection text COLLATE "C" NOT NULL,
    item text COLLATE "C" NOT NULL,
    PRIMARY KEY (collection, item)
);
CREATE TABLE IF NOT EXISTS image_rlhf.leases (
    collection text COLLATE "C" NOT NULL,
    annotator text COLLATE "C" NOT NULL,
    item text COLLATE "C" NOT NULL,
    occasion integer NOT NULL,
    until double precision NOT NULL,  -- seconds since the epoch, by this server's clock
    state text NOT NULL CHECK (state IN ('held', 'skipped', 'done')),
    answer text COLLATE "C" NOT NULL,
    PRIMARY KEY (collection, annotator, item)
);
CREATE INDEX IF NOT EXISTS leases_held ON image_rlhf.leases (collection, until) WHERE state = 'held';
CREATE INDEX IF NOT EXISTS leases_item ON image_rlhf.leases (collection, item);
CREATE INDEX IF NOT EXISTS leases_answer ON image_rlhf.leases (collection, answer) WHERE answer <> '';
CREATE TABLE IF NOT EXISTS image_rlhf.link_keys (
    collection text COLLATE "C" PRIMARY KEY,
    key text NOT NULL
);
CREATE TABLE IF NOT EXISTS image_rlhf.link_tokens (
    collection text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,  -- empty for the owner's link
    token text COLLATE "C" NOT NULL,
    PRIMARY KEY (collection, name),
    UNIQUE (collection, token)
);
REVOKE ALL ON image_rlhf.items, image_rlhf.leases, image_rlhf.link_keys, image_rlhf.link_tokens
    FROM PUBLIC, image_rlhf_server;
GRANT SELECT, INSERT, UPDATE ON image_rlhf.items TO image_rlhf_server;  -- UPDATE: for SELECT ... FOR UPDATE
GRANT SELECT, INSERT, UPDATE ON image_rlhf.leases TO image_rlhf_server;
GRANT SELECT, INSERT ON image_rlhf.link_keys, image_rlhf.link_tokens TO image_rlhf_server;
