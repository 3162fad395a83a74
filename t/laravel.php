<?php

/*
 * Prints the verdicts of Laravel's own validator; run by laravel.pl.
 *
 * Each line of the standard input is a request, as JSON: { query, body }, in
 * base64, null if it is not sent.  Each line of the output is a verdict, with
 * texts in base64: { message, errors } for a 422, errors being a list of keys,
 * each with its messages; or { cameras_ids, cameras_uuid, login }; or { none },
 * why Laravel is not to be compared.
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

    if (is_array($data['cameras_ids'] ?? null)) {
        $data['cameras_ids'] = array_map('id', $data['cameras_ids']);
    }

    /* decided otherwise: a JSON integer is a member of cameras_uuid */

    if (is_array($data['cameras_uuid'] ?? null)) {
        $texts = json_decode($text, true, 512, JSON_BIGINT_AS_STRING);

        foreach ($texts['cameras_uuid'] as $key => $value) {
            $data['cameras_uuid'][$key] = is_int($value) ? (string) $value
                                                         : $value;
        }
    }

    return $data;
}

function id($value)
{
    /* decided otherwise: true is no integer */

    if ($value === true) {
        return 'true';
    }

    /*
     * Decided otherwise: a whole number is an integer up to 2^53.  PHP writes
     * floats with 14 digits, so the validator ends at 10^14, and rounds.
     */

    if (is_float($value) && abs($value) <= 2 ** 53) {
        return $value == floor($value) ? (int) $value : 'fraction';
    }

    return $value;
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

/* why a request is not compared: Laravel cannot answer it, or has no limit */

function none(array $data)
{
    foreach ($data as $value) {
        foreach (array_keys(is_array($value) ? $value : []) as $key) {
            if (!mb_check_encoding((string) $key, 'UTF-8')) {
                return 'a key that is not UTF-8';
            }

            if (mb_strlen((string) $key) > 255) {
                return 'a key that is too long';
            }
        }
    }

    return null;
}

function verdict(Factory $factory, $request)
{
    parse_str(base64_decode($request['query'] ?? ''), $query);

    $body = $request['body'] === null ? null : base64_decode($request['body']);
    $data = input(clean(body($body)), clean($query));
    $data = array_intersect_key($data, array_flip(NAMES));

    if (($why = none($data)) !== null) {
        return ['none' => $why];
    }

    $validator = $factory->make($data, RULES);

    if ($validator->passes()) {
        return ['cameras_ids' => texts($data['cameras_ids'] ?? null),
                'cameras_uuid' => texts($data['cameras_uuid'] ?? null),
                'login' => isset($data['login'])
                           ? base64_encode($data['login']) : null];
    }

    $errors = within($validator->errors()->messages(), $data);
    $messages = array_merge(...array_values($errors));
    $message = array_shift($messages);

    if ($count = count($messages)) {
        $message .= " (and $count more error" . ($count == 1 ? ')' : 's)');
    }

    $list = [];

    foreach ($errors as $key => $messages) {
        $list[] = array_map('base64_encode', [$key, ...$messages]);
    }

    return ['message' => base64_encode($message), 'errors' => $list];
}

function texts($values)
{
    if ($values === null) {
        return null;
    }

    return array_map(fn ($value) => base64_encode((string) $value),
                     array_values($values));
}

$lang = (new ReflectionClass(Translator::class))->getFileName();
$loader = new FileLoader(new Filesystem, dirname($lang) . '/lang');
$factory = new Factory(new Translator($loader, 'en'));

while (($line = fgets(STDIN)) !== false) {
    echo json_encode(verdict($factory, json_decode($line, true))), "\n";
}
