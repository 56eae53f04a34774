<?php
// Asks a task over curl, whole and streamed, and prints what it saw as JSON: php chat.php BASE_URL WORDS
[, $base, $words] = $argv;

function ask(string $base, array $body, ?callable $take = null): array
{
    $handle = curl_init("$base/chat/completions");
    curl_setopt_array($handle, [
        CURLOPT_POST => true,
        CURLOPT_POSTFIELDS => json_encode($body),
        CURLOPT_HTTPHEADER => ['Content-Type: application/json', 'Authorization: Bearer none'],
        CURLOPT_RETURNTRANSFER => $take === null,
        CURLOPT_TIMEOUT => 20,
    ]);
    if ($take !== null) {
        curl_setopt($handle, CURLOPT_WRITEFUNCTION, $take);
    }
    $said = curl_exec($handle);
    $status = curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
    return [$status, $said];
}

$messages = [['role' => 'user', 'content' => $words]];

[$status, $said] = ask($base, ['model' => 'write', 'messages' => $messages]);
$whole = json_decode($said, true, flags: JSON_THROW_ON_ERROR);

$buffer = '';
$text = '';
$done = false;
ask($base, ['model' => 'talk', 'messages' => $messages, 'stream' => true], function ($handle, $data) use (&$buffer, &$text, &$done) {
    $buffer .= $data;
    while (($end = strpos($buffer, "\n")) !== false) {
        $line = rtrim(substr($buffer, 0, $end));
        $buffer = substr($buffer, $end + 1);
        if ($line === 'data: [DONE]') {
            $done = true;
        } elseif (str_starts_with($line, 'data: ')) {
            $chunk = json_decode(substr($line, 6), true, flags: JSON_THROW_ON_ERROR);
            $text .= $chunk['choices'][0]['delta']['content'] ?? '';
        }
    }
    return strlen($data);
});

[$wrong, $error] = ask($base, ['model' => 'wrote', 'messages' => $messages]);

echo json_encode([
    'status' => $status,
    'text' => $whole['choices'][0]['message']['content'],
    'model' => $whole['model'],
    'tier' => $whole['cheapfirst']['tier'],
    'streamed' => $text,
    'done' => $done,
    'wrong' => $wrong,
    'code' => json_decode($error, true)['error']['code'],
]), "\n";
