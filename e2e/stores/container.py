#!/usr/bin/env python3
"""container.py HOST:PORT ACCOUNT KEY NAME  Create a container in an Azurite, by a request signed with the account's key."""
import base64, email.utils, hashlib, hmac, sys, urllib.error, urllib.request

address, account, key, name = sys.argv[1:]
date = email.utils.formatdate(usegmt=True)
headers = f"x-ms-date:{date}\nx-ms-version:2021-12-02\n"
resource = f"/{account}/{account}/{name}\nrestype:container"
text = "PUT" + "\n" * 12 + headers + resource
signature = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
request = urllib.request.Request(f"http://{address}/{account}/{name}?restype=container", method="PUT", headers={
    "x-ms-date": date, "x-ms-version": "2021-12-02", "Authorization": f"SharedKey {account}:{signature}"})
try:
    urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    sys.exit(f"{error}: {error.read().decode()[:400]}")
