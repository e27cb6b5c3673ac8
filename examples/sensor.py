#!/usr/bin/env python3
"""A sensor application: asks the model on this device about every reading.

Readings come on stdin, one a line, numbers separated by spaces; answers go to stdout. It needs
nothing but Python's standard library.

  ./read-sensor | python3 sensor.py digits [http://127.0.0.1:7310]
"""

import json
import sys
import time
import urllib.error
import urllib.request

TRIES = 10


def asked(url, body=None):
    """Asks again while the model is being loaded or has too much to do (503)."""
    data = None if body is None else json.dumps(body).encode()
    for tries in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data)) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            if error.code != 503 or tries == TRIES:
                sys.exit(f"{url} answered {error.code}: {text}")
            time.sleep(float(error.headers.get("Retry-After", 1)))


def main(component="digits", address="http://127.0.0.1:7310"):
    model = f"{address}/v2/models/{component}"
    tensor = asked(model)["inputs"][0]
    # A dimension of -1 is any number; here one reading is asked about at a time.
    shape = [1 if size == -1 else size for size in tensor["shape"]]
    for line in sys.stdin:
        reading = {
            "name": tensor["name"],
            "datatype": tensor["datatype"],
            "shape": shape,
            "data": [float(number) for number in line.split()],
        }
        answer = asked(f"{model}/infer", {"inputs": [reading]})
        scores = answer["outputs"][0]["data"]
        best = max(range(len(scores)), key=scores.__getitem__)
        print(best, scores[best], answer["model_version"], flush=True)


main(*sys.argv[1:])
