<?php

/*
 * What Laravel's own validator says: run by laravel.pl, which says what this
 * is for.
 *
 * Each line of the standard input is a request, as JSON: { query, body }, both
 * in base64, null where it is not sent.  Each line of the output is a verdict:
 * { message, errors } for a 422, or { ids, uuids, login }, in base64 but for
 * the ids.
 */

require 'Illuminate/Validation/autoload.php';

use Illuminate\Filesystem\Filesystem;
use Illuminate\Support\Str;
use Illuminate\Translation\FileLoader;
use Illuminate\Translation\Translator;
use Illuminate\Validation\Factory;

const NAMES = ['cameras_ids', 'cameras_uuid', 'login'];
const MAX = 30;

const RULES = [
    'cameras_ids' => ['required_without_all:cameras_uuid,login', 'nullable',
                      'array', 'max:30'],
    'cameras_ids.*' => ['integer'],
    'cameras_uuid' => ['required_without_all:cameras_ids,login', 'nullable',
                       'array', 'max:30'],
    'cameras_uuid.*' => ['string', 'max:255'],
    'login' => ['required_without_all:cameras_ids,cameras_uuid', 'nullable',
                'string', 'max:255'],
];

/*
 * The middleware TrimStrings and ConvertEmptyStringsToNull, which Debian does
 * not package: they do this to each value of the body and of the query string.
 */

function clean($value)
{
    if (is_array($value)) {
        return array_map('clean', $value);
    }

    if (is_string($value)) {
        $value = Str::trim($value);
    }

    return $value === '' ? null : $value;
}

/* Request::json() */

function body($text)
{
    if ($text === null || $text === '') {
        return [];
    }

    $data = (array) json_decode($text, true);

    /* decided otherwise: a JSON integer is a member of cameras_uuid */

    $texts = (array) json_decode($text, true, 512, JSON_BIGINT_AS_STRING);

    if (isset($data['cameras_uuid']) && is_array($data['cameras_uuid'])) {
        foreach ($texts['cameras_uuid'] as $key => $value) {
            if (is_int($value)) {
                $value = (string) $value;
            }

            $data['cameras_uuid'][$key] = $value;
        }
    }

    /* decided otherwise: true is no integer */

    if (isset($data['cameras_ids']) && is_array($data['cameras_ids'])) {
        foreach ($data['cameras_ids'] as $key => $value) {
            if ($value === true) {
                $data['cameras_ids'][$key] = 'true';
            }
        }
    }

    return $data;
}

/*
 * Request::all().  Decided otherwise: what the body sends as null or empty is
 * taken from the query string, if it is there.
 */

function input($body, $query)
{
    foreach (NAMES as $name) {
        if (in_array($body[$name] ?? null, [null, []], true)
            && isset($query[$name]))
        {
            unset($body[$name]);
        }
    }

    return $body + $query;
}

/* decided otherwise: members beyond the limit are not looked at */

function within(array $errors, array $data)
{
    foreach (['cameras_ids', 'cameras_uuid'] as $name) {
        if (!is_array($data[$name] ?? null)) {
            continue;
        }

        foreach (array_slice(array_keys($data[$name]), MAX) as $key) {
            unset($errors["$name.$key"]);
        }
    }

    return $errors;
}

function verdict(Factory $factory, $request)
{
    parse_str(base64_decode($request['query'] ?? ''), $query);

    $body = $request['body'] === null ? null : base64_decode($request['body']);
    $data = input(clean(body($body)), clean($query));

    $validator = $factory->make($data, RULES);

    if ($validator->fails()) {
        $errors = within($validator->errors()->messages(), $data);
        $messages = array_merge(...array_values($errors));
        $message = array_shift($messages);

        if ($count = count($messages)) {
            $message .= " (and $count more error" . ($count == 1 ? ')' : 's)');
        }

        return ['message' => $message, 'errors' => $errors];
    }

    return ['ids' => isset($data['cameras_ids'])
                     ? array_map(fn ($id) => (string) (int) $id,
                                 array_values($data['cameras_ids'])) : null,
            'uuids' => isset($data['cameras_uuid'])
                       ? array_map('base64_encode',
                                   array_values($data['cameras_uuid'])) : null,
            'login' => isset($data['login'])
                       ? base64_encode($data['login']) : null];
}

$lang = (new ReflectionClass(Translator::class))->getFileName();
$loader = new FileLoader(new Filesystem, dirname($lang) . '/lang');
$factory = new Factory(new Translator($loader, 'en'));

while (($line = fgets(STDIN)) !== false) {
    echo json_encode(verdict($factory, json_decode($line, true)),
                     JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES
                     | JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}
