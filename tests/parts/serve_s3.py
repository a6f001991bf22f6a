"""Serve S3 on a free port, with one bucket and one user: moto's, which checks every signature.

    PYTHON serve_s3.py BUCKET      prints `listening PORT KEY SECRET`

Run by the Python of an environment that `requirements/s3.lock` makes.
"""

import importlib
import json
import sys
from typing import Any

REGION = "eu-north-1"
USER = "garage"
ALL_OF_S3 = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


def serve(bucket: str) -> None:
    """Make the bucket and the user, and serve until the end."""
    moto: Any = importlib.import_module("moto.core")
    backends: Any = importlib.import_module("moto.backends")
    settings: Any = importlib.import_module("moto.settings")
    werkzeug: Any = importlib.import_module("werkzeug.serving")
    app: Any = importlib.import_module("moto.moto_server.werkzeug_app")
    backends.get_backend("s3")[moto.DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, REGION)
    users = backends.get_backend("iam")[moto.DEFAULT_ACCOUNT_ID]["aws"]
    users.create_user(REGION, USER)
    policy = {"Version": "2012-10-17", "Statement": [ALL_OF_S3]}
    users.put_user_policy(USER, "all-of-s3", json.dumps(policy))
    key = users.create_access_key(USER)
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0
    served = app.DomainDispatcherApplication(app.create_backend_app)
    handler = app.MotoRequestHandler
    server = werkzeug.make_server("127.0.0.1", 0, served, threaded=True, request_handler=handler)
    print("listening", server.port, key.access_key_id, key.secret_access_key, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
