"""The official Python library for Standard Webhooks as a judge.

Each line of stdin is a message: {"secret": "whsec_...", "headers": {...}, "body": "..."}. For each it prints a line:
`good`, or why the library refuses it.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    message = json.loads(line)
    try:
        Webhook(message["secret"]).verify(message["body"], message["headers"], json_parse=False)
        print("good")
    except WebhookVerificationError as error:
        print(error)
