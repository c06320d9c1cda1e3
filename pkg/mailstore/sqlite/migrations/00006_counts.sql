-- +goose Up
-- Mails stored by day.
CREATE TABLE counts (
  day INTEGER NOT NULL PRIMARY KEY,
  n   INTEGER NOT NULL
);
