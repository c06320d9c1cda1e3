-- +goose Up
-- The table of Guerrilla SMTPd as a view, one row per mail and mailbox. mail is packed: body says how ('gzencode' can
-- be read by gzuncompress, as ever; STORER_CODEC=zlib makes it so). A mail of several parts has an empty mail here. Asking
-- by hash, mail_id or recipient uses an index.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW new_mail AS
SELECT i.mail_id AS mail_id,
       i.received AS `date`,
       CONVERT(i.sender USING utf8mb4) AS `from`,
       CONVERT(i.rcpt USING utf8mb4) AS `to`,
       i.subject AS subject,
       CASE r.codec WHEN 2 THEN 'gzencode' WHEN 1 THEN 'zstd' ELSE '' END AS body,
       i.charset AS charset,
       CASE m.parts WHEN 1 THEN r.body ELSE '' END AS mail,
       0 AS spam_score,
       i.hash AS hash,
       i.content_type AS content_type,
       i.rcpt AS recipient,
       i.has_attach AS has_attach,
       COALESCE(INET6_NTOA(i.ip), '') AS ip_addr,
       i.hdr_from AS hdr_from,
       i.hdr_to AS hdr_to,
       i.mbox AS mbox
FROM inbox i JOIN mail m ON m.day = i.day AND m.id = i.id JOIN mail_raw r ON r.day = i.day AND r.id = i.id AND r.part = 0
WHERE i.state < 2;
