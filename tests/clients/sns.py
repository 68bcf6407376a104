# Whether a request to Amazon SNS is signed as botocore, Amazon's own client, signs it: the request as it came is built anew,
# signed by botocore with the same key at the same time, and the two headers are compared.
import datetime
import os
from unittest import mock
from urllib.parse import parse_qs

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session

key, secret, region, url = (os.environ[f'SNS_{name}'] for name in ('KEY', 'SECRET', 'REGION', 'URL'))
head, body = os.environ['SNS_HEAD'], os.environ['SNS_BODY']
lines = head.split('\r\n')
method, path, _ = lines[0].split(' ')
headers = {name.lower(): value for name, value in (line.split(': ', 1) for line in lines[1:])}
assert (method, path) == ('POST', '/'), lines[0]

time = datetime.datetime.strptime(headers['x-amz-date'], '%Y%m%dT%H%M%SZ')
now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
assert abs((now - time).total_seconds()) < 60, headers['x-amz-date']


def sign(with_secret):
    request = botocore.awsrequest.AWSRequest('POST', url, headers={'content-type': headers['content-type']}, data=body)
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, with_secret), 'sns', region)
    # It reads the clock by one of these two, by its version.
    with mock.patch('botocore.auth.get_current_datetime', create=True, return_value=time), \
            mock.patch('botocore.auth.datetime', create=True) as clock:
        clock.datetime.utcnow.return_value = time
        signer.add_auth(request)
    return request.headers['Authorization']


assert headers['authorization'] == sign(secret), (headers['authorization'], sign(secret))
assert headers['authorization'] != sign('another'), 'the secret does not matter'

# The names of the parameters are those of Amazon's model of the service.
service = botocore.session.get_session().get_service_model('sns')
operation = service.operation_model('Publish').input_shape.members
form = {name: value[0] for name, value in parse_qs(body, strict_parsing=True).items()}
assert form['Version'] == service.api_version and form['Action'] == 'Publish', form
for name in form:
    assert name.split('.')[0] in (*operation, 'Action', 'Version'), name
print('ok 1 - signed as botocore signs')
