"""Makes the small exports of other tools that the tests import: real tools, a made-up upstream, no personal data."""
