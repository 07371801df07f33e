"""Verifies one token with PyJWT and nothing but a JWKS. verify.sh calls it; the usage stands there."""

import argparse
import json
import os
import sys
import time
import urllib.request

import jwt

ALGORITHMS = ("RS256", "ES256")


class Refused(Exception):
    """Why the token is not accepted, in one line."""


def main():
    port = os.environ.get("PORT", "3200")
    parser = argparse.ArgumentParser(prog="softhsm/verify.sh")
    parser.add_argument("token", nargs="?", help="a token or the answer of POST /tokens; stdin without it")
    parser.add_argument("--jwks", default=f"http://127.0.0.1:{port}/.well-known/jwks.json", help="URL or file")
    arguments = parser.parse_args()
    try:
        token = token_in(arguments.token if arguments.token is not None else sys.stdin.read())
        header, claims = parts(token)
        print("header:   ", json.dumps(header, ensure_ascii=False))
        print("claims:   ", json.dumps(claims, ensure_ascii=False))
        key = matching_key(jwks(arguments.jwks), header)
        verify(token, key)
    except Refused as reason:
        print("refused:  ", reason)
        return 1
    print("signature: valid")
    print("expires:   in", claims["exp"] - int(time.time()), "seconds")
    return 0


def token_in(text):
    """The token itself, or the member `token` of the service's answer."""
    text = text.strip()
    if not text.startswith("{"):
        if not text:
            raise Refused("there is no token on stdin (is the service running?)")
        return text
    try:
        answer = json.loads(text)
        return answer["token"]
    except (ValueError, KeyError):
        raise Refused(f"the service's answer holds no token: {text}") from None


def parts(token):
    """Header and claims as they stand, before any check."""
    try:
        return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as reason:
        raise Refused(f"not a JWT: {reason}") from None


def jwks(place):
    """The key set at a URL or in a file."""
    try:
        if "://" not in place:
            with open(place, encoding="utf-8") as file:
                return json.load(file)["keys"]
        # No proxy: the service is on this machine or near it.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(place, timeout=5) as answer:
            return json.load(answer)["keys"]
    except (OSError, ValueError, KeyError) as reason:
        raise Refused(f"no JWKS at {place}: {reason}") from None


def matching_key(keys, header):
    """The one key that the header names. The algorithm is the key's, never the header's choice alone."""
    matching = [key for key in keys if key.get("kid") == header.get("kid")]
    if len(matching) != 1:
        raise Refused(f"{len(matching)} keys of the JWKS have kid {header.get('kid')}")
    if matching[0].get("alg") not in ALGORITHMS or matching[0]["alg"] != header.get("alg"):
        raise Refused(f"the key is for {matching[0].get('alg')}, the header says {header.get('alg')}")
    return matching[0]


def verify(token, key):
    """Signature, expiry, issuer and audience, as the runtime checks them; `iat` it ignores."""
    try:
        jwt.decode(
            token,
            jwt.PyJWK(key).key,
            algorithms=[key["alg"]],
            issuer=os.environ.get("MACP_AUTH_ISSUER", "macp-auth-service"),
            audience=os.environ.get("MACP_AUTH_AUDIENCE", "macp-runtime"),
            options={"require": ["sub", "iss", "aud", "iat", "exp"], "verify_iat": False},
        )
    except jwt.PyJWTError as reason:
        raise Refused(str(reason)) from None


if __name__ == "__main__":
    sys.exit(main())
