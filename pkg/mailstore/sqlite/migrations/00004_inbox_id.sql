-- +goose Up
-- For dropping the oldest mails: there are no partitions here.
CREATE INDEX inbox_id ON inbox (id);
