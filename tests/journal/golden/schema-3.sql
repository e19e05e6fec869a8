PRAGMA application_id=1633839665;
PRAGMA user_version=3;
BEGIN TRANSACTION;
CREATE TABLE "attempt" (
        job_id TEXT NOT NULL,
        idx INTEGER NOT NULL,
        n INTEGER NOT NULL,
        tag TEXT NOT NULL UNIQUE,
        intended_at REAL NOT NULL,
        payer TEXT,
        provider_batch_id TEXT,
        result TEXT NOT NULL CHECK (result IN ('open', 'unknown', 'accepted', 'refused', 'fenced', 'voided', 'indeterminate',
            'retried')),
        PRIMARY KEY (job_id, idx, n),
        FOREIGN KEY (job_id, idx) REFERENCES submission (job_id, idx) ON DELETE CASCADE,
        CHECK (provider_batch_id IS NOT NULL OR result <> 'accepted')
    ) WITHOUT ROWID;
INSERT INTO "attempt" VALUES('cancel-asked',0,1,'mark-cancel asked',8.0,'openai/0123456789abcdef','batch-cancel asked','accepted');
INSERT INTO "attempt" VALUES('create-unknown',0,1,'mark-create unknown',8.0,'openai/0123456789abcdef',NULL,'unknown');
INSERT INTO "attempt" VALUES('creating',0,1,'mark-creating',8.0,'openai/0123456789abcdef',NULL,'open');
INSERT INTO "attempt" VALUES('disowned',0,1,'mark-disowned',8.0,'openai/0123456789abcdef',NULL,'unknown');
INSERT INTO "attempt" VALUES('ended',0,1,'mark-ended',8.0,'openai/0123456789abcdef','batch-ended','accepted');
INSERT INTO "attempt" VALUES('fenced',0,1,'mark-fenced',8.0,'openai/0123456789abcdef',NULL,'fenced');
INSERT INTO "attempt" VALUES('indeterminate',0,1,'mark-indeterminate',8.0,'openai/0123456789abcdef',NULL,'indeterminate');
INSERT INTO "attempt" VALUES('refused-for-now',0,1,'mark-refused for now',8.0,'openai/0123456789abcdef',NULL,'refused');
INSERT INTO "attempt" VALUES('retried',0,1,'mark-retried',8.0,'openai/0123456789abcdef','batch-retried','retried');
INSERT INTO "attempt" VALUES('retried-by-hand',0,1,'mark-retried by hand',8.0,'openai/0123456789abcdef','batch-retried by hand','retried');
INSERT INTO "attempt" VALUES('settled',0,1,'mark-settled',8.0,'openai/0123456789abcdef','batch-settled','accepted');
INSERT INTO "attempt" VALUES('submitted',0,1,'mark-submitted',8.0,'openai/0123456789abcdef','batch-submitted','accepted');
INSERT INTO "attempt" VALUES('voided',0,1,'mark-voided',8.0,'openai/0123456789abcdef','batch-voided','voided');
CREATE TABLE event (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        job_id TEXT NOT NULL,
        idx INTEGER NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL,
        FOREIGN KEY (job_id, idx) REFERENCES submission (job_id, idx) ON DELETE CASCADE
    );
INSERT INTO "event" VALUES(1,1800000000.0,'uploading',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(2,1800000000.0,'uploaded',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(3,1800000000.0,'uploaded',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(4,1800000000.0,'creating',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(5,1800000000.0,'creating',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(6,1800000000.0,'creating',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-creating","at":8.0}');
INSERT INTO "event" VALUES(7,1800000000.0,'create-unknown',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(8,1800000000.0,'create-unknown',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(9,1800000000.0,'create-unknown',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-create unknown","at":8.0}');
INSERT INTO "event" VALUES(10,1800000000.0,'create-unknown',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(11,1800000000.0,'submitted',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(12,1800000000.0,'submitted',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(13,1800000000.0,'submitted',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-submitted","at":8.0}');
INSERT INTO "event" VALUES(14,1800000000.0,'submitted',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(15,1800000000.0,'submitted',0,'Accepted','{"type":"Accepted","provider_batch_id":"batch-submitted","is_certain":true}');
INSERT INTO "event" VALUES(16,1800000000.0,'ended',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(17,1800000000.0,'ended',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(18,1800000000.0,'ended',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-ended","at":8.0}');
INSERT INTO "event" VALUES(19,1800000000.0,'ended',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(20,1800000000.0,'ended',0,'Accepted','{"type":"Accepted","provider_batch_id":"batch-ended","is_certain":true}');
INSERT INTO "event" VALUES(21,1800000000.0,'ended',0,'Ended','{"type":"Ended","status":"completed"}');
INSERT INTO "event" VALUES(22,1800000000.0,'settled',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(23,1800000000.0,'settled',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(24,1800000000.0,'settled',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-settled","at":8.0}');
INSERT INTO "event" VALUES(25,1800000000.0,'settled',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(26,1800000000.0,'settled',0,'Accepted','{"type":"Accepted","provider_batch_id":"batch-settled","is_certain":true}');
INSERT INTO "event" VALUES(27,1800000000.0,'settled',0,'Ended','{"type":"Ended","status":"completed"}');
INSERT INTO "event" VALUES(28,1800000000.0,'settled',0,'Settled','{"type":"Settled","outcomes":{"succeeded":1}}');
INSERT INTO "event" VALUES(29,1800000000.0,'refused-for-now',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(30,1800000000.0,'refused-for-now',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(31,1800000000.0,'refused-for-now',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-refused for now","at":8.0}');
INSERT INTO "event" VALUES(32,1800000000.0,'refused-for-now',0,'Refused','{"type":"Refused","why":"busy","is_final":false,"is_lasting":true}');
INSERT INTO "event" VALUES(33,1800000000.0,'refused',0,'Refused','{"type":"Refused","why":"no","is_final":true,"is_lasting":true}');
INSERT INTO "event" VALUES(34,1800000000.0,'fenced',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(35,1800000000.0,'fenced',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(36,1800000000.0,'fenced',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-fenced","at":8.0}');
INSERT INTO "event" VALUES(37,1800000000.0,'fenced',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(38,1800000000.0,'fenced',0,'FenceIntended','{"type":"FenceIntended"}');
INSERT INTO "event" VALUES(39,1800000000.0,'fenced',0,'Fenced','{"type":"Fenced"}');
INSERT INTO "event" VALUES(40,1800000000.0,'voided',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(41,1800000000.0,'voided',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(42,1800000000.0,'voided',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-voided","at":8.0}');
INSERT INTO "event" VALUES(43,1800000000.0,'voided',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(44,1800000000.0,'voided',0,'Accepted','{"type":"Accepted","provider_batch_id":"batch-voided","is_certain":true}');
INSERT INTO "event" VALUES(45,1800000000.0,'voided',0,'Voided','{"type":"Voided"}');
INSERT INTO "event" VALUES(46,1800000000.0,'voided',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(47,1800000000.0,'voided',0,'Uploaded','{"type":"Uploaded","input_ref":"file-2","expires_at":99.0}');
INSERT INTO "event" VALUES(48,1800000000.0,'disowned',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(49,1800000000.0,'disowned',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(50,1800000000.0,'disowned',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-disowned","at":8.0}');
INSERT INTO "event" VALUES(51,1800000000.0,'disowned',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(52,1800000000.0,'disowned',0,'Accepted','{"type":"Accepted","provider_batch_id":"batch-disowned","is_certain":true}');
INSERT INTO "event" VALUES(53,1800000000.0,'disowned',0,'Disowned','{"type":"Disowned","vanished":null}');
INSERT INTO "event" VALUES(54,1800000000.0,'indeterminate',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(55,1800000000.0,'indeterminate',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(56,1800000000.0,'indeterminate',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-indeterminate","at":8.0}');
INSERT INTO "event" VALUES(57,1800000000.0,'indeterminate',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(58,1800000000.0,'indeterminate',0,'Indeterminate','{"type":"Indeterminate","why":"nobody knows"}');
INSERT INTO "event" VALUES(59,1800000000.0,'retried',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(60,1800000000.0,'retried',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(61,1800000000.0,'retried',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-retried","at":8.0}');
INSERT INTO "event" VALUES(62,1800000000.0,'retried',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(63,1800000000.0,'retried',0,'Accepted','{"type":"Accepted","provider_batch_id":"batch-retried","is_certain":true}');
INSERT INTO "event" VALUES(64,1800000000.0,'retried',0,'Ended','{"type":"Ended","status":"completed"}');
INSERT INTO "event" VALUES(65,1800000000.0,'retried',0,'Retried','{"type":"Retried","requests":1,"rows_bytes":80,"outcomes":{"succeeded":2},"not_before":10.0,"is_by_hand":false}');
INSERT INTO "event" VALUES(66,1800000000.0,'retried-by-hand',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(67,1800000000.0,'retried-by-hand',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(68,1800000000.0,'retried-by-hand',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-retried by hand","at":8.0}');
INSERT INTO "event" VALUES(69,1800000000.0,'retried-by-hand',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(70,1800000000.0,'retried-by-hand',0,'Accepted','{"type":"Accepted","provider_batch_id":"batch-retried by hand","is_certain":true}');
INSERT INTO "event" VALUES(71,1800000000.0,'retried-by-hand',0,'Ended','{"type":"Ended","status":"completed"}');
INSERT INTO "event" VALUES(72,1800000000.0,'retried-by-hand',0,'Settled','{"type":"Settled","outcomes":{"succeeded":1}}');
INSERT INTO "event" VALUES(73,1800000000.0,'retried-by-hand',0,'Retried','{"type":"Retried","requests":1,"rows_bytes":80,"outcomes":{"succeeded":2},"not_before":null,"is_by_hand":true}');
INSERT INTO "event" VALUES(74,1800000000.0,'cancel-asked',0,'UploadIntended','{"type":"UploadIntended"}');
INSERT INTO "event" VALUES(75,1800000000.0,'cancel-asked',0,'Uploaded','{"type":"Uploaded","input_ref":"file-golden","expires_at":null}');
INSERT INTO "event" VALUES(76,1800000000.0,'cancel-asked',0,'CreateIntended','{"type":"CreateIntended","mark":"mark-cancel asked","at":8.0}');
INSERT INTO "event" VALUES(77,1800000000.0,'cancel-asked',0,'CreateUnknown','{"type":"CreateUnknown","why":"no answer"}');
INSERT INTO "event" VALUES(78,1800000000.0,'cancel-asked',0,'Accepted','{"type":"Accepted","provider_batch_id":"batch-cancel asked","is_certain":true}');
INSERT INTO "event" VALUES(79,1800000000.0,'cancel-asked',0,'CancelAsked','{"type":"CancelAsked"}');
CREATE TABLE job (
        seq INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL UNIQUE,
        key TEXT UNIQUE,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        account TEXT,
        fingerprint TEXT NOT NULL,
        created_at REAL NOT NULL,
        requests INTEGER NOT NULL,
        record TEXT NOT NULL
    );
INSERT INTO "job" VALUES(1,'planned','key of planned','openai','gpt-4.1-mini','team','0123456789abcdef',0.0,3,'{"job_id":"planned","key":"key of planned","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":0.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(2,'uploading','key of uploading','openai','gpt-4.1-mini','team','0123456789abcdef',1.0,3,'{"job_id":"uploading","key":"key of uploading","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":1.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(3,'uploaded','key of uploaded','openai','gpt-4.1-mini','team','0123456789abcdef',2.0,3,'{"job_id":"uploaded","key":"key of uploaded","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":2.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(4,'creating','key of creating','openai','gpt-4.1-mini','team','0123456789abcdef',3.0,3,'{"job_id":"creating","key":"key of creating","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":3.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(5,'create-unknown','key of create unknown','openai','gpt-4.1-mini','team','0123456789abcdef',4.0,3,'{"job_id":"create-unknown","key":"key of create unknown","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":4.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(6,'submitted','key of submitted','openai','gpt-4.1-mini','team','0123456789abcdef',5.0,3,'{"job_id":"submitted","key":"key of submitted","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":5.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(7,'ended','key of ended','openai','gpt-4.1-mini','team','0123456789abcdef',6.0,3,'{"job_id":"ended","key":"key of ended","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":6.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(8,'settled','key of settled','openai','gpt-4.1-mini','team','0123456789abcdef',7.0,3,'{"job_id":"settled","key":"key of settled","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":7.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(9,'refused-for-now','key of refused for now','openai','gpt-4.1-mini','team','0123456789abcdef',8.0,3,'{"job_id":"refused-for-now","key":"key of refused for now","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":8.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(10,'refused','key of refused','openai','gpt-4.1-mini','team','0123456789abcdef',9.0,3,'{"job_id":"refused","key":"key of refused","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":9.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(11,'fenced','key of fenced','openai','gpt-4.1-mini','team','0123456789abcdef',10.0,3,'{"job_id":"fenced","key":"key of fenced","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":10.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(12,'voided','key of voided','openai','gpt-4.1-mini','team','0123456789abcdef',11.0,3,'{"job_id":"voided","key":"key of voided","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":11.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(13,'disowned','key of disowned','openai','gpt-4.1-mini','team','0123456789abcdef',12.0,3,'{"job_id":"disowned","key":"key of disowned","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":12.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(14,'indeterminate','key of indeterminate','openai','gpt-4.1-mini','team','0123456789abcdef',13.0,3,'{"job_id":"indeterminate","key":"key of indeterminate","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":13.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(15,'retried','key of retried','openai','gpt-4.1-mini','team','0123456789abcdef',14.0,3,'{"job_id":"retried","key":"key of retried","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":14.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(16,'retried-by-hand','key of retried by hand','openai','gpt-4.1-mini','team','0123456789abcdef',15.0,3,'{"job_id":"retried-by-hand","key":"key of retried by hand","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":15.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
INSERT INTO "job" VALUES(17,'cancel-asked','key of cancel asked','openai','gpt-4.1-mini','team','0123456789abcdef',16.0,3,'{"job_id":"cancel-asked","key":"key of cancel asked","digest":"","provider":"openai","model":"gpt-4.1-mini","mode":"chat","endpoint":"/v1/chat/completions","account":"team","fingerprint":"0123456789abcdef","created_at":16.0,"request_count":3,"rejected_count":0,"options":{"metadata":{"night":"yes"}}}');
CREATE TABLE lease (
        job_id TEXT PRIMARY KEY REFERENCES job (job_id) ON DELETE CASCADE,
        owner TEXT NOT NULL,
        pid INTEGER NOT NULL,
        started INTEGER NOT NULL,
        boot_id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        renewed REAL NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "lease" VALUES('cancel-asked','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('create-unknown','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('creating','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('disowned','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('ended','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('fenced','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('indeterminate','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('planned','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('refused','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('refused-for-now','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('retried','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('retried-by-hand','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('settled','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('submitted','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('uploaded','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('uploading','golden',1,1,'golden',1,1800000000.0);
INSERT INTO "lease" VALUES('voided','golden',1,1,'golden',1,1800000000.0);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('clean','yes');
INSERT INTO "meta" VALUES('made_by','0.1.0');
CREATE TABLE submission (
        job_id TEXT NOT NULL REFERENCES job (job_id) ON DELETE CASCADE,
        idx INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('planned', 'uploading', 'uploaded', 'creating', 'create_unknown', 'submitted',
            'ended', 'settled')),
        attempt INTEGER NOT NULL,
        tag TEXT,
        provider_batch_id TEXT,
        record TEXT NOT NULL,
        PRIMARY KEY (job_id, idx),
        CHECK (tag IS NOT NULL OR state NOT IN ('creating', 'create_unknown', 'submitted')),
        CHECK (provider_batch_id IS NOT NULL OR state <> 'submitted')
    ) WITHOUT ROWID;
INSERT INTO "submission" VALUES('cancel-asked',0,'submitted',1,'mark-cancel asked','batch-cancel asked','{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"submitted","attempt":1,"tag":"mark-cancel asked","intended_at":8.0,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":"batch-cancel asked","is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":true}');
INSERT INTO "submission" VALUES('create-unknown',0,'create_unknown',1,'mark-create unknown',NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"create_unknown","attempt":1,"tag":"mark-create unknown","intended_at":8.0,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":"no answer","outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('creating',0,'creating',1,'mark-creating',NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"creating","attempt":1,"tag":"mark-creating","intended_at":8.0,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('disowned',0,'create_unknown',1,'mark-disowned',NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"create_unknown","attempt":1,"tag":"mark-disowned","intended_at":8.0,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":["batch-disowned"],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('ended',0,'ended',1,'mark-ended','batch-ended','{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"ended","attempt":1,"tag":"mark-ended","intended_at":8.0,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":"batch-ended","is_certain":true,"strangers":[],"vanished":null,"end":"completed","ending":null,"reason":null,"outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('fenced',0,'planned',1,'mark-fenced',NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"planned","attempt":1,"tag":"mark-fenced","intended_at":8.0,"input_ref":null,"input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":"no answer","outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('indeterminate',0,'ended',1,'mark-indeterminate',NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"ended","attempt":1,"tag":"mark-indeterminate","intended_at":8.0,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":"indeterminate","reason":"nobody knows","outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('planned',0,'planned',0,NULL,NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"planned","attempt":0,"tag":null,"intended_at":null,"input_ref":null,"input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('refused',0,'ended',0,NULL,NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"ended","attempt":0,"tag":null,"intended_at":null,"input_ref":null,"input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":"refused","reason":"no","outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('refused-for-now',0,'uploaded',1,'mark-refused for now',NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"uploaded","attempt":1,"tag":"mark-refused for now","intended_at":8.0,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":"busy","outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('retried',0,'planned',1,NULL,NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"planned","attempt":1,"tag":null,"intended_at":null,"input_ref":null,"input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{"succeeded":2},"round":1,"tries":2,"sent_count":1,"rows_bytes":80,"earlier":["batch-retried"],"not_before":10.0,"is_cancelled":false}');
INSERT INTO "submission" VALUES('retried-by-hand',0,'planned',1,NULL,NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"planned","attempt":1,"tag":null,"intended_at":null,"input_ref":null,"input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{"succeeded":2},"round":1,"tries":0,"sent_count":1,"rows_bytes":80,"earlier":["batch-retried by hand"],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('settled',0,'settled',1,'mark-settled','batch-settled','{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"settled","attempt":1,"tag":"mark-settled","intended_at":8.0,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":"batch-settled","is_certain":true,"strangers":[],"vanished":null,"end":"completed","ending":null,"reason":null,"outcomes":{"succeeded":1},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('submitted',0,'submitted',1,'mark-submitted','batch-submitted','{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"submitted","attempt":1,"tag":"mark-submitted","intended_at":8.0,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":"batch-submitted","is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('uploaded',0,'uploaded',0,NULL,NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"uploaded","attempt":0,"tag":null,"intended_at":null,"input_ref":"file-golden","input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('uploading',0,'uploading',0,NULL,NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"uploading","attempt":0,"tag":null,"intended_at":null,"input_ref":null,"input_expires_at":null,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
INSERT INTO "submission" VALUES('voided',0,'uploaded',1,'mark-voided',NULL,'{"index":0,"request_count":3,"first_row":0,"wire_prefix":"w-","input_name":"","input_offset":0,"input_bytes":0,"is_inline":false,"state":"uploaded","attempt":1,"tag":"mark-voided","intended_at":8.0,"input_ref":"file-2","input_expires_at":99.0,"is_fenced":false,"provider_batch_id":null,"is_certain":true,"strangers":[],"vanished":null,"end":null,"ending":null,"reason":null,"outcomes":{},"round":0,"tries":1,"sent_count":null,"rows_bytes":0,"earlier":[],"not_before":null,"is_cancelled":false}');
CREATE TABLE webhook (
        webhook_id TEXT PRIMARY KEY,
        at REAL NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "webhook" VALUES('msg_golden',1800000000.0);
CREATE TABLE wish (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES job (job_id) ON DELETE CASCADE,
        word TEXT NOT NULL,
        at REAL NOT NULL
    );
CREATE INDEX job_by_age ON job (created_at, seq);
CREATE INDEX submission_unsettled ON submission (job_id) WHERE state <> 'settled';
CREATE INDEX event_of ON event (job_id, idx, seq);
CREATE TRIGGER event_stays BEFORE UPDATE ON event BEGIN
        SELECT RAISE(ABORT, 'what happened is not changed');
    END;
CREATE UNIQUE INDEX attempt_live ON attempt (job_id, idx)
        WHERE result IN ('open', 'unknown', 'accepted', 'indeterminate');
CREATE UNIQUE INDEX attempt_batch ON attempt (payer, provider_batch_id)
        WHERE result IN ('accepted', 'retried');
CREATE INDEX wish_of ON wish (job_id);
CREATE INDEX webhook_by_age ON webhook (at);
CREATE INDEX attempt_of_batch ON attempt (provider_batch_id) WHERE provider_batch_id IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('event',79);
COMMIT;
