"""The schema's own examples fit it, and what breaks the protocol does not."""

import copy
import json
import pathlib
import unittest

import jsonschema

SCHEMA = json.loads((pathlib.Path(__file__).parents[2] / "proto/schema/signal.v1.json").read_text())


def validator(definition):
    return jsonschema.Draft202012Validator({**SCHEMA, "$id": "urn:chappe:test", "anyOf": [
        {"$ref": f"#/$defs/{definition}"}]})


class Schema(unittest.TestCase):
    def frames(self):
        for name, definition in SCHEMA["$defs"].items():
            if "type" in definition.get("properties", {}):
                yield name, definition

    def test_it_is_a_schema(self):
        jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def test_every_frame_has_examples_that_fit(self):
        sides = {side: {ref["$ref"].rsplit("/", 1)[1] for ref in SCHEMA["$defs"][side]["oneOf"]}
                 for side in ("client", "server")}
        names = set()
        for name, definition in self.frames():
            names.add(name)
            self.assertTrue(definition.get("examples"), name)
            for example in definition["examples"]:
                for side in [side for side, frames in sides.items() if name in frames]:
                    with self.subTest(frame=name, side=side):
                        validator(side).validate(example)
        self.assertEqual(names, sides["client"] | sides["server"])

    def test_each_required_field_is_missed(self):
        for name, definition in self.frames():
            required = definition["required"] + [
                field for part in definition.get("allOf", [])
                for field in SCHEMA["$defs"][part["$ref"].rsplit("/", 1)[1]]["required"]]
            for field in required:
                broken = copy.deepcopy(definition["examples"][0])
                del broken[field]
                with self.subTest(frame=name, field=field):
                    self.assertFalse(validator(name).is_valid(broken))

    def test_unknown_fields_pass_and_unknown_types_do_not(self):
        check = validator("client")
        self.assertTrue(check.is_valid({"type": "leave", "new": 1}))
        self.assertFalse(check.is_valid({"type": "dance"}))
        self.assertFalse(check.is_valid({"type": "ack", "from": "p_short", "id": 1}))
        self.assertFalse(check.is_valid({"type": "ack", "from": "p_" + "0" * 24, "id": 0}))
        for connection in ({}, {"state": "well"}, {"state": "connected", "local": "192.0.2.7"}):
            self.assertFalse(check.is_valid({"type": "connections", "peers": {"p_" + "0" * 24: connection}}))
        self.assertFalse(validator("server").is_valid({"type": "join", "room": "r"}))


if __name__ == "__main__":
    unittest.main()
