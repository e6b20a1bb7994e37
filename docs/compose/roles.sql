-- The role that servers log in as: a member of image_rlhf_server, which `image-rlhf store migrate` makes, and nothing else.
\getenv password SERVER_PASSWORD
SELECT 'CREATE ROLE judge_server LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'judge_server') \gexec
ALTER ROLE judge_server PASSWORD :'password';
GRANT image_rlhf_server TO judge_server;
