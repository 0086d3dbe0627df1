"""Runs a command with an S3 server of its own, moto, and an empty bucket that AWS_BUCKET names."""

import os
import subprocess
import sys

from moto.server import ThreadedMotoServer

import boto3

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
os.environ |= {
    "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_BUCKET": "example",
}
boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(Bucket="example")
status = subprocess.run(sys.argv[1:]).returncode
server.stop()
sys.exit(status)
