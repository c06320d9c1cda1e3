-- +goose Up
-- For what is new in a mailbox.
CREATE INDEX inbox_stored ON inbox (mbox, stored);
