SELECT key, type, length FROM keys ORDER BY key;
SELECT z.member, z.score, h.value FROM zsets z JOIN hashes h ON h.key = 'pkg:' || z.member AND h.field = 'Section' WHERE z.key = 'by:installed-size' ORDER BY z.score DESC LIMIT 2;
SELECT h.value, count(*), sum(i.value) FROM hashes h JOIN hashes i ON i.key = h.key AND i.field = 'Installed-Size' WHERE h.field = 'Section' GROUP BY h.value;
SELECT s.member FROM sets s WHERE s.key GLOB 'section:*' AND s.member NOT IN (SELECT value FROM lists) ORDER BY 1;
SELECT field FROM hashes WHERE key = 'pkg:gamma' AND field < 'P' ORDER BY field DESC;
SELECT idx, value FROM lists WHERE key = 'deps:alpha' AND idx >= 1;
