# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_milad_global_optspecs
    string join \n config= source= bundle= socket= metrics= view interval= frames= sync h/help V/version
end

function __fish_milad_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_milad_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_milad_using_subcommand
    set -l cmd (__fish_milad_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c milad -n "__fish_milad_needs_command" -l config -d 'The configuration [default: /etc/milad/milad.toml where it exists]' -r -F
complete -c milad -n "__fish_milad_needs_command" -l source -d 'v4l2: (the first camera), v4l2:/dev/video0, v4l2:BY-ID-NAME, usb:VID:PID[:SERIAL], pipe:, clip:FILE, clip:FOLDER, scene:WORLD or card:' -r
complete -c milad -n "__fish_milad_needs_command" -l bundle -d 'A bundle\'s folder, or its name in ./models or /usr/share/milad/models' -r
complete -c milad -n "__fish_milad_needs_command" -l socket -d 'The Unix socket that results go out on' -r -F
complete -c milad -n "__fish_milad_needs_command" -l metrics -d 'Where metrics are served: ADDRESS:PORT, or off' -r
complete -c milad -n "__fish_milad_needs_command" -l interval -d 'Frames from keyframe to keyframe' -r
complete -c milad -n "__fish_milad_needs_command" -l frames -d 'End after N frames' -r
complete -c milad -n "__fish_milad_needs_command" -l view -d 'Serve a live view for browsers on this machine, beside the metrics'
complete -c milad -n "__fish_milad_needs_command" -l sync -d 'Wait for every frame, and publish the slow network\'s own predictions on keyframes [default: for clips that wait]'
complete -c milad -n "__fish_milad_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c milad -n "__fish_milad_needs_command" -s V -l version -d 'Print version'
complete -c milad -n "__fish_milad_needs_command" -f -a "run" -d 'The daemon (the default): frames in, predictions out. Without a configuration and a camera it plays a rendered street'
complete -c milad -n "__fish_milad_needs_command" -f -a "check" -d 'Reads the configuration, loads the bundle, opens the camera: prints what would run. Exit status 78: refused'
complete -c milad -n "__fish_milad_needs_command" -f -a "watch" -d 'Shows results as they come: a screen in a terminal, plain lines elsewhere'
complete -c milad -n "__fish_milad_needs_command" -f -a "devices" -d 'Cameras with their formats, sizes, rates and stable names'
complete -c milad -n "__fish_milad_needs_command" -f -a "infer" -d 'Runs a bundle on a clip and writes every output of every frame'
complete -c milad -n "__fish_milad_needs_command" -f -a "eval" -d 'Compares a bundle\'s predictions with exact truth, and counts what they cost'
complete -c milad -n "__fish_milad_needs_command" -f -a "bench" -d 'Times a bundle\'s networks, node by node'
complete -c milad -n "__fish_milad_needs_command" -f -a "scene" -d 'Writes rendered clips with their exact truth'
complete -c milad -n "__fish_milad_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c milad -n "__fish_milad_using_subcommand run" -l config -d 'The configuration [default: /etc/milad/milad.toml where it exists]' -r -F
complete -c milad -n "__fish_milad_using_subcommand run" -l source -d 'v4l2: (the first camera), v4l2:/dev/video0, v4l2:BY-ID-NAME, usb:VID:PID[:SERIAL], pipe:, clip:FILE, clip:FOLDER, scene:WORLD or card:' -r
complete -c milad -n "__fish_milad_using_subcommand run" -l bundle -d 'A bundle\'s folder, or its name in ./models or /usr/share/milad/models' -r
complete -c milad -n "__fish_milad_using_subcommand run" -l socket -d 'The Unix socket that results go out on' -r -F
complete -c milad -n "__fish_milad_using_subcommand run" -l metrics -d 'Where metrics are served: ADDRESS:PORT, or off' -r
complete -c milad -n "__fish_milad_using_subcommand run" -l interval -d 'Frames from keyframe to keyframe' -r
complete -c milad -n "__fish_milad_using_subcommand run" -l frames -d 'End after N frames' -r
complete -c milad -n "__fish_milad_using_subcommand run" -l view -d 'Serve a live view for browsers on this machine, beside the metrics'
complete -c milad -n "__fish_milad_using_subcommand run" -l sync -d 'Wait for every frame, and publish the slow network\'s own predictions on keyframes [default: for clips that wait]'
complete -c milad -n "__fish_milad_using_subcommand run" -s h -l help -d 'Print help'
complete -c milad -n "__fish_milad_using_subcommand check" -l config -d 'The configuration [default: /etc/milad/milad.toml where it exists]' -r -F
complete -c milad -n "__fish_milad_using_subcommand check" -l source -d 'v4l2: (the first camera), v4l2:/dev/video0, v4l2:BY-ID-NAME, usb:VID:PID[:SERIAL], pipe:, clip:FILE, clip:FOLDER, scene:WORLD or card:' -r
complete -c milad -n "__fish_milad_using_subcommand check" -l bundle -d 'A bundle\'s folder, or its name in ./models or /usr/share/milad/models' -r
complete -c milad -n "__fish_milad_using_subcommand check" -l socket -d 'The Unix socket that results go out on' -r -F
complete -c milad -n "__fish_milad_using_subcommand check" -l metrics -d 'Where metrics are served: ADDRESS:PORT, or off' -r
complete -c milad -n "__fish_milad_using_subcommand check" -l interval -d 'Frames from keyframe to keyframe' -r
complete -c milad -n "__fish_milad_using_subcommand check" -l frames -d 'End after N frames' -r
complete -c milad -n "__fish_milad_using_subcommand check" -l view -d 'Serve a live view for browsers on this machine, beside the metrics'
complete -c milad -n "__fish_milad_using_subcommand check" -l sync -d 'Wait for every frame, and publish the slow network\'s own predictions on keyframes [default: for clips that wait]'
complete -c milad -n "__fish_milad_using_subcommand check" -l configuration-only -d 'Read and check the configuration alone; load and open nothing. What `systemctl reload` does first'
complete -c milad -n "__fish_milad_using_subcommand check" -s h -l help -d 'Print help'
complete -c milad -n "__fish_milad_using_subcommand watch" -l socket -d 'The daemon\'s socket [default: the service\'s where there is one, else that of a daemon run by this user]' -r -F
complete -c milad -n "__fish_milad_using_subcommand watch" -l record -d 'Keep the stream with all maps in a new file; `--source clip:FILE` plays its pictures again' -r -F
complete -c milad -n "__fish_milad_using_subcommand watch" -l save -d 'Keep every result\'s maps in a folder: the camera and classes as PNG, numbers as .npy' -r -F
complete -c milad -n "__fish_milad_using_subcommand watch" -l frames -d 'End after N results' -r
complete -c milad -n "__fish_milad_using_subcommand watch" -l json -d 'Pass the daemon\'s lines through as they are'
complete -c milad -n "__fish_milad_using_subcommand watch" -s h -l help -d 'Print help'
complete -c milad -n "__fish_milad_using_subcommand devices" -l json -d 'One JSON array instead of the table'
complete -c milad -n "__fish_milad_using_subcommand devices" -s h -l help -d 'Print help'
complete -c milad -n "__fish_milad_using_subcommand infer" -l bundle -d 'The bundle: a folder, or a name in ./models or /usr/share/milad/models' -r
complete -c milad -n "__fish_milad_using_subcommand infer" -l clip -d 'The clip: a .y4m file, a recording of `milad watch`, or a folder of PNG or JPEG pictures' -r -F
complete -c milad -n "__fish_milad_using_subcommand infer" -l out -d 'Where the results go; made if it is not there' -r -F
complete -c milad -n "__fish_milad_using_subcommand infer" -l interval -d 'Frames from keyframe to keyframe [default: what the bundle was trained for]' -r
complete -c milad -n "__fish_milad_using_subcommand infer" -l latency -d 'Frames until a keyframe\'s memory comes into force. Keyframes are then at least so far apart, whatever the interval: there is one slow network' -r
complete -c milad -n "__fish_milad_using_subcommand infer" -l threads -d 'Threads for each network; the results do not depend on it' -r
complete -c milad -n "__fish_milad_using_subcommand infer" -l force -d 'Write into a folder that is not empty; earlier results in it are removed first'
complete -c milad -n "__fish_milad_using_subcommand infer" -s h -l help -d 'Print help'
complete -c milad -n "__fish_milad_using_subcommand eval" -l bundle -d 'The bundle: a folder, or a name in ./models or /usr/share/milad/models' -r
complete -c milad -n "__fish_milad_using_subcommand eval" -l mode -d 'How the networks answer' -r -f -a "mila\t'Both networks, as the daemon runs them'
slow\t'The slow network on every frame: the ceiling'
fast\t'The fast network alone, its memory never filled'
copy\t'The slow network\'s answer to the keyframe, kept until the next one'"
complete -c milad -n "__fish_milad_using_subcommand eval" -l seeds -d 'Rendered clips: seeds A ≤ s < B' -r
complete -c milad -n "__fish_milad_using_subcommand eval" -l frames -d 'Frames of each rendered clip' -r
complete -c milad -n "__fish_milad_using_subcommand eval" -l world -d 'street, room, street-shifted or room-shifted [default: the one that the bundle is named after]' -r
complete -c milad -n "__fish_milad_using_subcommand eval" -l quality -d 'How clips are rendered: training or live' -r
complete -c milad -n "__fish_milad_using_subcommand eval" -l clips -d 'A labelled clip as `milad scene` writes it, or a folder of such clips' -r -F
complete -c milad -n "__fish_milad_using_subcommand eval" -l interval -d 'Frames from keyframe to keyframe [default: what the bundle was trained for]' -r
complete -c milad -n "__fish_milad_using_subcommand eval" -l latency -d 'Frames until a keyframe\'s memory comes into force. Keyframes are then at least so far apart, whatever the interval: there is one slow network' -r
complete -c milad -n "__fish_milad_using_subcommand eval" -l jobs -d 'Clips at the same time. Times of networks mean something with one only' -r
complete -c milad -n "__fish_milad_using_subcommand eval" -l json -d 'One JSON object instead of a table'
complete -c milad -n "__fish_milad_using_subcommand eval" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c milad -n "__fish_milad_using_subcommand bench" -l bundle -d 'The bundle: a folder, or a name in ./models or /usr/share/milad/models' -r
complete -c milad -n "__fish_milad_using_subcommand bench" -l frames -d 'Frames to time; the slow network runs a fifth as often' -r
complete -c milad -n "__fish_milad_using_subcommand bench" -l threads -d 'Threads for each network' -r
complete -c milad -n "__fish_milad_using_subcommand bench" -l camera -d 'Size of the camera\'s pictures, whose preparation is timed' -r
complete -c milad -n "__fish_milad_using_subcommand bench" -l jpeg -d 'A JPEG picture as a camera would send it: its decoder alone is compared with all of its preparation' -r -F
complete -c milad -n "__fish_milad_using_subcommand bench" -l float -d 'Run quantised parts in float, as the engine does without our integer operators: what to compare with'
complete -c milad -n "__fish_milad_using_subcommand bench" -l json -d 'One JSON object instead of a table'
complete -c milad -n "__fish_milad_using_subcommand bench" -s h -l help -d 'Print help'
complete -c milad -n "__fish_milad_using_subcommand scene" -l world -d 'street, room, street-shifted or room-shifted' -r
complete -c milad -n "__fish_milad_using_subcommand scene" -l seed -d 'One clip, into the folder itself' -r
complete -c milad -n "__fish_milad_using_subcommand scene" -l seeds -d 'A clip for each seed A ≤ s < B, into folders named by seed; clips that are there already are left alone' -r
complete -c milad -n "__fish_milad_using_subcommand scene" -l frames -d 'Frames of each clip' -r
complete -c milad -n "__fish_milad_using_subcommand scene" -l out -d 'Where clips go; made if it is not there' -r -F
complete -c milad -n "__fish_milad_using_subcommand scene" -l width -d 'Pixels a row' -r
complete -c milad -n "__fish_milad_using_subcommand scene" -l height -d 'Rows' -r
complete -c milad -n "__fish_milad_using_subcommand scene" -l quality -d 'live (quick) or training (smooth edges, motion blur); the truth is the same' -r
complete -c milad -n "__fish_milad_using_subcommand scene" -l jobs -d 'Clips written at the same time' -r
complete -c milad -n "__fish_milad_using_subcommand scene" -l packed -d 'A few arrays a clip instead of a few files a frame: for training'
complete -c milad -n "__fish_milad_using_subcommand scene" -l flow -d 'Write the optical flow too, which packed clips leave out'
complete -c milad -n "__fish_milad_using_subcommand scene" -l cuts -d 'Let the camera jump to another place every few seconds'
complete -c milad -n "__fish_milad_using_subcommand scene" -s h -l help -d 'Print help'
complete -c milad -n "__fish_milad_using_subcommand help; and not __fish_seen_subcommand_from run check watch devices infer eval bench scene help" -f -a "run" -d 'The daemon (the default): frames in, predictions out. Without a configuration and a camera it plays a rendered street'
complete -c milad -n "__fish_milad_using_subcommand help; and not __fish_seen_subcommand_from run check watch devices infer eval bench scene help" -f -a "check" -d 'Reads the configuration, loads the bundle, opens the camera: prints what would run. Exit status 78: refused'
complete -c milad -n "__fish_milad_using_subcommand help; and not __fish_seen_subcommand_from run check watch devices infer eval bench scene help" -f -a "watch" -d 'Shows results as they come: a screen in a terminal, plain lines elsewhere'
complete -c milad -n "__fish_milad_using_subcommand help; and not __fish_seen_subcommand_from run check watch devices infer eval bench scene help" -f -a "devices" -d 'Cameras with their formats, sizes, rates and stable names'
complete -c milad -n "__fish_milad_using_subcommand help; and not __fish_seen_subcommand_from run check watch devices infer eval bench scene help" -f -a "infer" -d 'Runs a bundle on a clip and writes every output of every frame'
complete -c milad -n "__fish_milad_using_subcommand help; and not __fish_seen_subcommand_from run check watch devices infer eval bench scene help" -f -a "eval" -d 'Compares a bundle\'s predictions with exact truth, and counts what they cost'
complete -c milad -n "__fish_milad_using_subcommand help; and not __fish_seen_subcommand_from run check watch devices infer eval bench scene help" -f -a "bench" -d 'Times a bundle\'s networks, node by node'
complete -c milad -n "__fish_milad_using_subcommand help; and not __fish_seen_subcommand_from run check watch devices infer eval bench scene help" -f -a "scene" -d 'Writes rendered clips with their exact truth'
complete -c milad -n "__fish_milad_using_subcommand help; and not __fish_seen_subcommand_from run check watch devices infer eval bench scene help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
