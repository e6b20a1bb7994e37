-- The judgments of all collections, append-only. Cells are text exactly as they were given, so that a copy to CSV files
-- and back is the same bytes. `position` counts the rows of a collection over both tables, in the order of their commits.
CREATE TABLE IF NOT EXISTS image_rlhf.pairwise (
    collection text COLLATE "C" NOT NULL,
    position bigint NOT NULL CHECK (position > 0),
    id text COLLATE "C" NOT NULL CHECK (id <> ''),
    created_at text NOT NULL,
    annotator text NOT NULL,
    round text NOT NULL,
    image_a text NOT NULL,
    label_a text NOT NULL,
    image_b text NOT NULL,
    label_b text NOT NULL,
    choice text NOT NULL,
    shown_first text NOT NULL,
    response_ms text NOT NULL,
    source text NOT NULL,
    retracts text COLLATE "C" NOT NULL,
    PRIMARY KEY (collection, position),
    UNIQUE (collection, id)
);
CREATE TABLE IF NOT EXISTS image_rlhf.per_image (
    collection text COLLATE "C" NOT NULL,
    position bigint NOT NULL CHECK (position > 0),
    id text COLLATE "C" NOT NULL CHECK (id <> ''),
    created_at text NOT NULL,
    annotator text NOT NULL,
    round text NOT NULL,
    image text NOT NULL,
    question text NOT NULL,
    label text NOT NULL,
    answer text NOT NULL,
    response_ms text NOT NULL,
    source text NOT NULL,
    retracts text COLLATE "C" NOT NULL,
    PRIMARY KEY (collection, position),
    UNIQUE (collection, id)
);
CREATE INDEX IF NOT EXISTS pairwise_retracts ON image_rlhf.pairwise (collection, retracts) WHERE retracts <> '';
CREATE INDEX IF NOT EXISTS per_image_retracts ON image_rlhf.per_image (collection, retracts) WHERE retracts <> '';

-- The owner of the tables has every privilege; these triggers keep an owner's slip from changing judgments as well.
CREATE OR REPLACE FUNCTION image_rlhf.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'judgments are append-only: % of % is refused', TG_OP, TG_TABLE_NAME;
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON image_rlhf.pairwise
    FOR EACH STATEMENT EXECUTE FUNCTION image_rlhf.refuse_change();
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON image_rlhf.per_image
    FOR EACH STATEMENT EXECUTE FUNCTION image_rlhf.refuse_change();

-- Servers log in as a member of this role. Roles belong to all databases of the server, so another may have made it.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'image_rlhf_server') THEN
        CREATE ROLE image_rlhf_server NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
REVOKE ALL ON image_rlhf.migrations, image_rlhf.pairwise, image_rlhf.per_image FROM PUBLIC, image_rlhf_server;
GRANT USAGE ON SCHEMA image_rlhf TO image_rlhf_server;
GRANT SELECT ON image_rlhf.migrations TO image_rlhf_server;
GRANT SELECT, INSERT ON image_rlhf.pairwise, image_rlhf.per_image TO image_rlhf_server;
