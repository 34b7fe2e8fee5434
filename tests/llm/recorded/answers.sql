BEGIN TRANSACTION;
CREATE TABLE answers (
        key TEXT PRIMARY KEY,
        model TEXT NOT NULL,
        created REAL NOT NULL,
        tokens INTEGER NOT NULL,
        dollars REAL,
        line TEXT NOT NULL
    );
INSERT INTO "answers" VALUES('87ff0fb1430a7502c230de528712e86730cebac7640a1888b4fb818c432c586e','openai/gpt-5-mini',1.79587192669194030758e+09,48,0.0,'{"checksum":"c1032d7521eb881a1ad9fff5dea84380a825bccb1a2ada4b21c9168f75868aaf","completion":{"completion_tokens":6,"dollars":0.0,"finish_reason":"stop","logprobs":null,"model":"openai/gpt-5-mini","prompt_tokens":42,"repairs":0,"seconds":0.0,"text":"West \u2014 \u00fcber den Fluss"},"created":1795871926.6919403,"format":1,"key":"87ff0fb1430a7502c230de528712e86730cebac7640a1888b4fb818c432c586e","request":{"answer_schema":null,"messages":[{"content":"Where is water?","role":"user"}],"model":"openai/gpt-5-mini","params":{"temperature":0.5},"prompt_version":"","sample":0}}');
INSERT INTO "answers" VALUES('4e941e7e821e8885b6f8f0fe8bf8088f515ee85a3c8034f2b0b9dc56c95e65c5','openai/gpt-5-mini',1.79587192669304299358e+09,48,0.0,'{"checksum":"65cf9a38fd959e7cdb060ba209bc4fe08368f7311629928e9031538b33e1e009","completion":{"completion_tokens":6,"dollars":0.0,"finish_reason":"stop","logprobs":null,"model":"openai/gpt-5-mini","prompt_tokens":42,"repairs":0,"seconds":0.0,"text":"West \u2014 \u00fcber den Fluss"},"created":1795871926.693043,"format":1,"key":"4e941e7e821e8885b6f8f0fe8bf8088f515ee85a3c8034f2b0b9dc56c95e65c5","request":{"answer_schema":null,"messages":[{"content":"Where is water?","role":"user"}],"model":"openai/gpt-5-mini","params":{"temperature":0.5},"prompt_version":"","sample":1}}');
INSERT INTO "answers" VALUES('80fd2e176008824a562352ab7fba97aa34deaf9ad74f96f810265843ad56c560','openai/gpt-5-mini',1.79587192670331740381e+09,111,0.0,'{"checksum":"f4165a6dae7328f3dd04e48068ded7988cc578b62dbab32024c8c6af7bf58002","completion":{"completion_tokens":14,"dollars":0.0,"finish_reason":"stop","logprobs":null,"model":"openai/gpt-5-mini","prompt_tokens":97,"repairs":0,"seconds":0.0,"text":"```json\n{\"reason\": \"wood is near\", \"useful\": true}\n```"},"created":1795871926.7033174,"format":1,"key":"80fd2e176008824a562352ab7fba97aa34deaf9ad74f96f810265843ad56c560","request":{"answer_schema":{"properties":{"reason":{"title":"Reason","type":"string"},"useful":{"title":"Useful","type":"boolean"}},"required":["reason","useful"],"title":"Verdict","type":"object"},"messages":[{"content":"You judge.","role":"system"},{"content":"chop tree?","role":"user"}],"model":"openai/gpt-5-mini","params":{"max_tokens":50,"temperature":0.5},"prompt_version":"7","sample":0}}');
CREATE TABLE claims (key TEXT PRIMARY KEY, expires REAL NOT NULL, owner TEXT NOT NULL);
CREATE TABLE documents (name TEXT PRIMARY KEY, body TEXT NOT NULL);
INSERT INTO "documents" VALUES('budget:before','{"calls":3,"dollars":0,"starts":[],"tokens":207,"under_way":{}}');
CREATE TABLE failures (key TEXT PRIMARY KEY, expires REAL NOT NULL, body TEXT NOT NULL);
CREATE TABLE totals (answers INTEGER NOT NULL);
INSERT INTO "totals" VALUES(3);
CREATE INDEX answers_by_age ON answers (created, key);
CREATE TRIGGER answer_came AFTER INSERT ON answers
        BEGIN UPDATE totals SET answers = answers + 1; END;
CREATE TRIGGER answer_went AFTER DELETE ON answers
        BEGIN UPDATE totals SET answers = answers - 1; END;
COMMIT;
