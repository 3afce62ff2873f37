"""A MariaDB or MySQL database with everything in it that dump tools trip over."""

from __future__ import annotations

import contextlib

from fix_mysql import Schema, identifier

NULLS = (
    "NULL",
    "null",
    r"\N",
    "\x1f",
    "\x1fNULL\x1f",
    "\x1f\x1f",
    "NULLS",
    "",
    " ",
    "'",
    '"',
    "`",
    "\\",
    "\\'",
    "'),('",
)
"""Texts that could be taken for something else on the way."""

BYTES = bytes(range(256)) * 4

COMMON = [
    # every type, in every state
    """CREATE TABLE types (id INT PRIMARY KEY, t TINYINT UNSIGNED, b BIGINT, bu BIGINT UNSIGNED, d DECIMAL(65,30),
       f FLOAT, f2 FLOAT(7,3), dd DOUBLE, d2 DOUBLE(20,5), b1 BIT(1), b29 BIT(29), b64 BIT(64), da DATE, ti TIME(6),
       dt DATETIME(6), ts TIMESTAMP(6) NULL, y YEAR, c CHAR(9), v VARCHAR(90), bi BINARY(9), vb VARBINARY(300),
       tb TINYBLOB, lb LONGBLOB, tt TINYTEXT, lt LONGTEXT, e ENUM('NULL','ü','x'), s SET('a','b','ü'), j JSON,
       g GEOMETRY, p POINT)""",
    """INSERT INTO types VALUES (1, 255, -9223372036854775808, 18446744073709551615, '12345678901234567890.123456789',
       16777217.0, 1.234, 0.1, 123456.78901, b'1', 0x1E4E554C, 0xFFFFFFFFFFFFFFFF, '0000-00-00', '-838:59:59.000000',
       '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01.000001', 2155, 'NULL', 'NULL', 'NULL', 0x1F00090A5C0D1A27,
       0x4E554C4C, 0x1F4E554C4C, '', 'ü😀\t\n\\\\', 'NULL', 'a,ü', '{"a": [1, null, "😀"]}',
       ST_GeomFromText('POINT(1 2)'), ST_GeomFromText('POINT(3 4)'))""",
    "INSERT INTO types (id) VALUES (2)",
    """INSERT INTO types (id, t, f, dd, b29, b64, da, dt, ts, y, e, s, v, ti) VALUES (3, 0, 3.4028234e38, 2.2250738585072014e-308,
       0x4E554C4C & 0x1FFFFFFF, 0, '2021-02-31', '0000-00-00 00:00:00', '2026-10-25 00:30:00', 0, 0, '', '1e9', '00:00:00')""",
    "INSERT INTO types (id, f, dd, v) VALUES (0, -0.1, 1e-300, 'zero is a number like others'), (-5, 1e-38, -1.5e308, '')",
    # every character set
    """CREATE TABLE charsets (id INT PRIMARY KEY, l1 VARCHAR(20) CHARACTER SET latin1, gb VARCHAR(20) CHARACTER SET gbk,
       sj VARCHAR(20) CHARACTER SET sjis, b5 VARCHAR(20) CHARACTER SET big5, u2 VARCHAR(20) CHARACTER SET ucs2,
       u16 TEXT CHARACTER SET utf16, u32 CHAR(5) CHARACTER SET utf32, k8 VARCHAR(20) CHARACTER SET koi8r,
       u3 VARCHAR(20) CHARACTER SET utf8mb3, bin VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)""",
    """INSERT INTO charsets VALUES (1, 'é€', '誠乗', 'ソ表', '功許', 'Ċ\\n\\t', 'ἀ😀', '一', 'ж', 'ü', 'Ä'),
       (2, 'NULL', 'NULL', 'NULL', 'NULL', 'NULL', 'NULL', 'NULL', 'NULL', 'NULL', 'NULL'),
       (3, _binary 0x81, 'a\\\\', '\\\\', '\\\\', '一丨', '\\u4e55', '', '', '', ''),
       (4, '', '', '', '', _ucs2 0x4E554C4C, _utf16 0x1F001F4E, NULL, '', '', '')""",
    # keys and what hangs on them
    "CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT, b_id INT, name VARCHAR(20), UNIQUE (name)) AUTO_INCREMENT = 77",
    "CREATE TABLE b (id INT PRIMARY KEY, a_id INT, CONSTRAINT to_a FOREIGN KEY (a_id) REFERENCES a (id) ON DELETE CASCADE)",
    "ALTER TABLE a ADD CONSTRAINT to_b FOREIGN KEY (b_id) REFERENCES b (id)",
    "CREATE TABLE tree (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id))",
    "SET foreign_key_checks = 0",
    "INSERT INTO a VALUES (1, 1, 'one'), (0, 2, 'zero'), (-3, NULL, 'minus')",
    "INSERT INTO b VALUES (1, 1), (2, 0)",
    "INSERT INTO tree VALUES (1, 3), (2, 1), (3, 2)",
    "SET foreign_key_checks = 1",
    """CREATE TABLE made (a INT, b INT AS (a * 2) VIRTUAL, c VARCHAR(40) AS (concat('<', a, '>')) STORED,
       d INT DEFAULT 5 COMMENT 'it''s; a "comment"\\n-- of `two` lines', KEY (c))""",
    "INSERT INTO made (a, d) VALUES (1, 1), (1, 1), (NULL, NULL)",
    """CREATE TABLE parts (id INT NOT NULL, at DATE NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (year(at))
       (PARTITION old VALUES LESS THAN (2020), PARTITION new VALUES LESS THAN MAXVALUE)""",
    "INSERT INTO parts VALUES (2, '2019-01-01'), (1, '2026-01-01'), (1, '2019-01-01')",
    'CREATE TABLE `we``ird "name" ; -- ü` (`a``b` INT, `select` INT, `c;d` VARCHAR(9), KEY (`a``b`))',
    "INSERT INTO `we``ird \"name\" ; -- ü` VALUES (1, 2, ';')",
    "CREATE TABLE nothing (id INT PRIMARY KEY)",
    "CREATE TABLE old_engine (id INT PRIMARY KEY, t TEXT, FULLTEXT (t)) ENGINE = MyISAM",
    "INSERT INTO old_engine VALUES (1, 'old')",
    "CREATE TABLE texts (t VARCHAR(40) NOT NULL, n VARCHAR(40), PRIMARY KEY (t)) COLLATE utf8mb4_bin",
    "CREATE TABLE wide (id INT PRIMARY KEY, data LONGBLOB)",
    # views on views, the later named first
    "CREATE VIEW z_first AS SELECT id, name FROM a WHERE id > -10 WITH CASCADED CHECK OPTION",
    "CREATE SQL SECURITY INVOKER VIEW a_second AS SELECT z.id, b.a_id FROM z_first z LEFT JOIN b USING (id)",
    "CREATE ALGORITHM = MERGE VIEW `v``iew ü` AS SELECT 'ü;`' AS `q``uote`, count(*) AS n FROM a_second",
    # routines, triggers and events, with modes and character sets of their own
    "CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC NO SQL COMMENT 'it''s' RETURN n * 2",
    "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'",
    """CREATE PROCEDURE "p;q" (IN a INT, INOUT b VARCHAR(9) CHARACTER SET latin1) MODIFIES SQL DATA SQL SECURITY INVOKER
       BEGIN DECLARE x INT DEFAULT 1; -- ; ' "
       SET b = 'a' || ';' || "b"; SELECT "id" FROM a; END""",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
    r"CREATE FUNCTION backslash() RETURNS VARCHAR(9) NO SQL RETURN '\'",
    "SET sql_mode = ''",
    "SET NAMES latin1",
    "CREATE FUNCTION umlaut() RETURNS VARCHAR(9) CHARACTER SET utf8mb4 NO SQL RETURN 'ü'",
    "SET NAMES utf8mb4",
    "CREATE TABLE log (n INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(90))",
    "CREATE TRIGGER first_of BEFORE INSERT ON b FOR EACH ROW INSERT INTO log (what) VALUES (concat('1;', NEW.id))",
    """CREATE TRIGGER {db}.second_of BEFORE INSERT ON {db}.b FOR EACH ROW FOLLOWS first_of
       BEGIN INSERT INTO {db}.log (what) VALUES ('2;'); SET NEW.a_id = twice(NEW.a_id) / 2; END""",
    "CREATE TRIGGER gone AFTER DELETE ON a FOR EACH ROW INSERT INTO log (what) SELECT 'gone' FROM {db}.nothing",
    """CREATE EVENT clean ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE COMMENT ';'
       DO DELETE FROM log WHERE n < 0""",
    "SET time_zone = '+05:30'",
    "CREATE EVENT once ON SCHEDULE AT '2037-01-01 00:00:00' DO BEGIN DELETE FROM log; END",
]

MARIADB = [
    "CREATE SEQUENCE numbers START WITH 1000 INCREMENT BY -7 MINVALUE -5000 MAXVALUE 5000 CACHE 0 CYCLE",
    "DO nextval(numbers)",
    "CREATE TABLE numbered (id INT PRIMARY KEY DEFAULT nextval(numbers), t TEXT COMPRESSED)",
    "INSERT INTO numbered (t) VALUES ('one'), (repeat('long ', 300))",
    "CREATE TABLE newer (u UUID, i INET6, i4 INET4, hidden INT INVISIBLE DEFAULT 7, CHECK (hidden < 100))",
    """INSERT INTO newer (u, i, i4, hidden) VALUES ('123e4567-e89b-12d3-a456-426655440000', '::1', '78.85.76.76', 5),
       ('1f4e554c-4c00-0000-0000-000000000000', '1f4e:554c::', '31.0.0.1', NULL), (NULL, NULL, NULL, 1)""",
    "CREATE TABLE history (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
    "INSERT INTO history VALUES (1, 1)",
    "CREATE TABLE aria (id INT) ENGINE = Aria",
    "INSERT INTO aria VALUES (1), (1)",
]

MYSQL = [
    """CREATE TABLE newer (id INT PRIMARY KEY, hidden INT INVISIBLE DEFAULT 7, p POINT NOT NULL SRID 4326, j JSON,
       x VARCHAR(9) DEFAULT (concat('a', 'b')), SPATIAL INDEX (p), KEY ((cast(j->'$.n' AS SIGNED))),
       CHECK (hidden < 100))""",
    'INSERT INTO newer (id, hidden, p, j) VALUES (1, 5, ST_GeomFromText(\'POINT(1 2)\', 4326), \'{"n": 1.5, "u": "\\\\u00fc"}\')',
]


def fill_nasty(schema: Schema, *, mariadb: bool = True) -> None:
    with contextlib.closing(schema.server.connect(schema.name)) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00'")
        for statement in [*COMMON, *(MARIADB if mariadb else MYSQL)]:
            cursor.execute(statement.replace("{db}", identifier(schema.name)))
            if statement == "SET sql_mode = ''":
                cursor.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
        for number, text in enumerate(NULLS):
            cursor.execute("INSERT INTO texts VALUES (%s, %s)", (f"{number} {text}", text))
        cursor.execute("INSERT INTO texts VALUES ('NULL', NULL), ('\x1fx', 'x')")
        cursor.execute("INSERT INTO wide VALUES (1, %s), (2, %s), (3, '')", (BYTES, BYTES[::-1] * 1000))
