# Checks conf/openapi.yaml against the schema of OpenAPI 3.1, and then answers
# against conf/openapi.yaml. The standard input has the answers as a JSON array
# of objects: method, status, headers (by lower-case names), body, and perhaps
# the body of the request, which has to be valid for a 200 and invalid for a
# 422. Prints "ok" or "not ok" for each answer, with the reason.
#
#     python3 openapi.py conf/openapi.yaml path/to/schemas/v3.1/schema.json

import copy
import json
import sys

import yaml
from jsonschema import Draft202012Validator


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.loads(json.dumps(yaml.safe_load(f)))


def resolve(doc, node):
    while "$ref" in node:
        target = doc
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        node = target
    return node


def wrong(doc, schema, value):
    """The first thing that is wrong with a value, or None."""

    whole = {"components": doc["components"], "allOf": [schema]}
    for error in Draft202012Validator(whole).iter_errors(value):
        return f"{list(error.path)}: {error.message}"
    return None


def objects(value):
    """All objects in a value, from a copy of it, with that copy."""

    def walk(node, path):
        if isinstance(node, dict):
            yield path
        children = (node.items() if isinstance(node, dict)
                    else enumerate(node) if isinstance(node, list) else ())
        for key, child in children:
            yield from walk(child, path + [key])

    for path in walk(value, []):
        whole = copy.deepcopy(value)
        node = whole
        for key in path:
            node = node[key]
        yield whole, node, path


def loose(doc, schema, value):
    """Whether a member more or less would pass; that is a fault, too."""

    for whole, node, path in objects(value):
        node["more"] = node[next(iter(node))]
        if not wrong(doc, schema, whole):
            return f"{path}: an additional member passes"

    for whole, node, path in objects(value):
        if path == ["errors"] and len(node) > 1:
            continue
        for name in list(node):
            kept = node.pop(name)
            if not wrong(doc, schema, whole):
                return f"{path}: a missing {name} passes"
            node[name] = kept

    return None


def check(doc, answer):
    route = doc["paths"]["/api/v1/billing/cameras/list"]
    # a method that the route does not have is answered as GET would be
    operation = route.get(answer["method"].lower(), route["get"])
    response = operation["responses"].get(str(answer["status"]))

    if response is None:
        return "the status is not in the document"

    response = resolve(doc, response)

    for name, header in response.get("headers", {}).items():
        header = resolve(doc, header)
        if name.lower() not in answer["headers"]:
            return f"no header {name}"
        error = wrong(doc, header["schema"], answer["headers"][name.lower()])
        if error:
            return f"header {name}: {error}"

    if "request" in answer and answer["status"] in (200, 422):
        schema = resolve(doc, operation["requestBody"]["content"]
                         ["application/json"]["schema"])
        error = wrong(doc, schema, json.loads(answer["request"]))
        if bool(error) != (answer["status"] == 422):
            return f"the request: {error or 'nothing is wrong'}"

    kind = answer["headers"].get("content-type", "").split(";")[0]
    if kind not in response["content"]:
        return f"the Content-Type is {kind}"

    if answer["method"] == "HEAD":
        return "a body" if answer["body"] else None

    schema = response["content"][kind]["schema"]

    if kind != "application/json":
        return wrong(doc, schema, answer["body"])

    value = json.loads(answer["body"])
    return wrong(doc, schema, value) or loose(doc, schema, value)


def schemas(doc):
    yield from doc["components"]["schemas"].values()
    for parameter in doc["components"]["parameters"].values():
        yield parameter["schema"]


def main():
    doc, schema = load(sys.argv[1]), load(sys.argv[2])

    errors = [f"{list(e.path)}: {e.message}"
              for e in Draft202012Validator(schema).iter_errors(doc)]
    for each in schemas(doc):
        Draft202012Validator.check_schema(each)

    print(f"not ok document: {errors[0]}" if errors else "ok document")

    for answer in json.load(sys.stdin):
        error = check(doc, answer)
        print(f"not ok {answer['name']}: {error}" if error
              else f"ok {answer['name']}")


main()
